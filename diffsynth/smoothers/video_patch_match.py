"""`VideoPatchMatchSmoother`: every frame blended with the whole clip, by a table of remaps."""

from typing import Annotated, Literal

from pydantic import Field

from diffsynth.config import ConfigModel, OptionalPath, OutputPath
from diffsynth.smoothers.postprocessing import PostprocessingConfig


class VideoPatchMatchSmootherConfig(ConfigModel):
    """Blend every frame with the whole clip; the number of matches grows with n·log n."""

    type: Literal["VideoPatchMatchSmoother"] = Field(default="VideoPatchMatchSmoother", exclude=True)
    engine_name: Literal["native", "Pytorch", "Ebsynth"] = "native"
    """What finds the matches."""
    bin_path: OptionalPath = None
    """An `ebsynth_nnf` binary, for the engine `Ebsynth`."""
    cache_path: OutputPath | None = None
    """Folder for intermediate files; without one they stay in the run's folder."""
    num_iter: Annotated[int, Field(ge=1, le=100)] = 1
    """How often the clip is smoothed, each time from the last result."""
    postprocessing: PostprocessingConfig = PostprocessingConfig()
    """Contrast and sharpness, applied before and after."""
