"""`python run_DiffSynth.py config.json`: the same as `diffsynth run config.json`."""

import sys

from diffsynth.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]], program="run_DiffSynth.py"))
