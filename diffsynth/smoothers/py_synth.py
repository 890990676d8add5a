"""`PySynthSmoother`: every frame blended with a window of its neighbours."""

from typing import Annotated, Literal

from pydantic import Field

from diffsynth.config import ConfigModel
from diffsynth.smoothers.postprocessing import PostprocessingConfig


class PySynthEngineConfig(ConfigModel):
    """How matches are found."""

    patch_size: Annotated[int, Field(ge=3, le=33)] = 21
    """Side of the square patches that are compared; odd."""
    num_iter: Annotated[int, Field(ge=1, le=100)] = 6
    """Rounds of search on each level."""
    guide_weight: Annotated[float, Field(ge=0)] = 100.0
    """Weight of the guides against the style."""
    threads_per_block: Annotated[int, Field(ge=1, le=1024)] = 8
    """Side of a CUDA block; the result doesn't depend on it."""
    gpu_id: Annotated[int, Field(ge=0)] = 0
    """Which GPU is used."""


class PySynthSmootherConfig(ConfigModel):
    """Blend every frame with a window of its neighbours."""

    type: Literal["PySynthSmoother"] = Field(default="PySynthSmoother", exclude=True)
    speed: Literal["slowest", "fastest"] = "fastest"
    """`slowest` matches every frame of the window, `fastest` a number that grows with its logarithm."""
    window_size: Annotated[int, Field(ge=1)] = 3
    """Frames on either side that take part."""
    postprocessing: PostprocessingConfig = PostprocessingConfig()
    """Contrast and sharpness, applied after."""
    ebsynth_config: PySynthEngineConfig = PySynthEngineConfig()
    """How matches are found."""
