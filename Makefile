.PHONY: check test slow docs bench

check:
	ruff check .
	ruff format --check .
	mypy
	$(MAKE) test

test:
	pytest -n 4

slow:
	pytest -n 4 -m "slow or not slow"

docs:
	mkdocs build --strict

bench:
	pytest benchmarks -s -o addopts=""
