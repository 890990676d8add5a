"""Every error a user can meet. Each message says where, what was found, what is allowed and what to do.

    DiffSynthError
    ├── ConfigError          a config file or command line that can't be run as it stands
    ├── MediaError           a video, image or sound that can't be read or written
    ├── MissingFileError     a path that leads nowhere
    ├── RunFolderError       an output folder that holds other work
    ├── StoreError           an intermediate store that is incomplete or damaged
    ├── ModelError           a checkpoint that doesn't load, or doesn't fit
    ├── EngineError          the patch-matching engine can't do what was asked
    └── UnavailableError     a part that is not installed, or not built yet

A `DiffSynthError` is the user's to mend: the command line prints it without a traceback and exits with code 2.
"""


class DiffSynthError(Exception):
    """Base of all errors raised on purpose by this package."""


class ConfigError(DiffSynthError, ValueError):
    """One or more things wrong with a config, reported together."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class MediaError(DiffSynthError, ValueError):
    """Media that can't be read or written; the message names the file and what FFmpeg said."""


class MissingFileError(DiffSynthError, FileNotFoundError):
    """A file or folder that was named and isn't there."""


class RunFolderError(DiffSynthError, FileExistsError):
    """An output folder that belongs to another run, or is in use by one."""


class StoreError(DiffSynthError, OSError):
    """A frame or latent store that is incomplete or damaged."""


class ModelError(DiffSynthError, ValueError):
    """A checkpoint that doesn't load or doesn't fit the others."""


class EngineError(DiffSynthError, RuntimeError):
    """A patch-matching engine that is missing, failed, or can't do what was asked."""


class UnavailableError(DiffSynthError, RuntimeError):
    """Something that needs a part that is not installed or not built; the message names it."""
