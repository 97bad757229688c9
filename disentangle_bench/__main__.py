"""``python -m disentangle_bench`` is the command ``dbench``."""

from disentangle_bench.cli import main

# Worker processes import this module again under another name: the guard keeps them from running it.
if __name__ == "__main__":
    main()
