"""`PySynthSmoother`: every frame blended with a window of its neighbours."""

from typing import Annotated, Literal

from pydantic import Field

from diffsynth.config import ConfigModel
from diffsynth.runtime import Runtime
from diffsynth.smoothers.blending import Blending
from diffsynth.smoothers.match_cache import open_cache
from diffsynth.smoothers.patch import PatchSize
from diffsynth.smoothers.postprocessing import PostprocessingConfig
from diffsynth.smoothers.window_smoother import Mode, WindowSmoother, native_matching


class PySynthEngineConfig(ConfigModel):
    """How matches are found."""

    patch_size: PatchSize = 21
    """Side of the square patches that are compared; odd."""
    num_iter: Annotated[int, Field(ge=1, le=100)] = 6
    """Sweeps of search on each level."""
    guide_weight: Annotated[float, Field(ge=0)] = 100.0
    """Weight of the guides against the style, where `match_style` lets it take part."""
    match_style: bool = False
    """Whether styled frames take part in matching; then each styled clip is matched anew."""
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
    blend: Literal["mean", "detail"] = "mean"
    """`mean` is the plain mean; `detail` weighs frames by how well they match, as FastBlendSmoother does."""

    def build(self, runtime: Runtime) -> WindowSmoother:
        modes: dict[str, Mode] = {"slowest": "balanced", "fastest": "prefix" if self.blend == "mean" else "fast"}
        search = self.ebsynth_config
        return WindowSmoother(
            modes[self.speed],
            self.window_size,
            native_matching(
                runtime,
                patch=search.patch_size,
                sweeps=search.num_iter,
                guide_weight=search.guide_weight,
                match_style=search.match_style,
            ),
            Blending(self.blend),
            open_cache(None, 4.0),
            after=self.postprocessing.build(),
        )
