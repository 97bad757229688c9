"""Entry point of ``python -m disentangle_bench``, which is the command ``dbench``."""

import os
import sys

if __name__ == "__main__":
    # Python puts the current folder first in its path; a file called pandas.py there would be imported as pandas.
    if not sys.flags.safe_path and sys.path and os.path.abspath(sys.path[0]) == os.getcwd():
        del sys.path[0]

    from disentangle_bench.cli import main

    main()
