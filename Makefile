.PHONY: check test slow docs bench

check:
	ruff check .
	ruff format --check .
	mypy
	$(MAKE) test

test:
	pytest -n 4

slow: test
	pytest -n 2 -o timeout=1500 -m "slow or thorough or packaging or timing"

docs:
	mkdocs build --strict

bench:
	pytest benchmarks -s -o addopts=""
