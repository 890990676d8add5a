"""`python -m diffsynth` is the console script."""

import sys

from diffsynth.cli import main

if __name__ == "__main__":
    sys.exit(main())
