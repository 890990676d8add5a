"""`EbsynthSmoother`: each frame becomes the mean of its neighbours, re-synthesised in its place."""

from typing import Annotated, Literal

from pydantic import Field

from diffsynth.config import ConfigModel, OptionalPath, OutputPath


class EbsynthSmootherConfig(ConfigModel):
    """Re-synthesise each frame from its neighbours in a sliding window, and take the mean."""

    type: Literal["EbsynthSmoother"] = Field(default="EbsynthSmoother", exclude=True)
    bin_path: OptionalPath = None
    """An `ebsynth` binary to run; without one the engine runs in this process."""
    cache_path: OutputPath | None = None
    """Folder for intermediate files; without one they stay in the run's folder."""
    smooth_index: Annotated[tuple[int, ...], Field(strict=False, min_length=1)] = (-2, -1, 1, 2)
    """Offsets of the frames that are synthesised from each frame."""
    n_jobs: Annotated[int, Field(ge=1, le=1024)] = 16
    """Pairs that are worked on at the same time."""
