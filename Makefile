.PHONY: check test slow docs bench

check:
	ruff check .
	ruff format --check .
	mypy
	$(MAKE) test

test:
	pytest -n auto

slow:
	pytest -n auto -m "slow or not slow"

docs:
	mkdocs build --strict

bench:
	pytest benchmarks -s -o addopts=""
