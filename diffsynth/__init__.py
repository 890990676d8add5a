"""DiffSynth: turn a clip into a stylized clip that holds still where the source holds still.

Importing the package is cheap: neither torch nor any other heavy library is loaded before a task is built.
"""

from importlib.metadata import PackageNotFoundError, version

from diffsynth.torchvision_guard import guard

try:
    __version__ = version("diffsynth")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0.0.0+source"

guard()

__all__ = ["__version__"]
