"""`FastBlendSmoother`: every frame blended with a window of its neighbours, by matches of the guides."""

from typing import Annotated, Literal

from pydantic import Field

from diffsynth.config import ConfigModel, OutputPath
from diffsynth.runtime import Runtime
from diffsynth.smoothers.blending import Blending
from diffsynth.smoothers.match_cache import open_cache
from diffsynth.smoothers.patch import PatchSize
from diffsynth.smoothers.window_smoother import WindowSmoother, native_matching


class FastBlendSmootherConfig(ConfigModel):
    """Blend every frame with a window of its neighbours, and keep its detail."""

    type: Literal["FastBlendSmoother"] = Field(default="FastBlendSmoother", exclude=True)
    mode: Literal["fast", "balanced", "accurate"] = "fast"
    """`fast` matches a number of pairs that grows with the window's logarithm, `balanced` every frame of the window,
    `accurate` all of them jointly, so that they agree with one another."""
    window_size: Annotated[int, Field(ge=1)] = 15
    """Frames on either side that take part."""
    minimum_patch_size: PatchSize = 5
    """Side of the square patches that are compared; odd."""
    num_iter: Annotated[int, Field(ge=1, le=100)] | None = None
    """Sweeps of search on each level; left out, as many as the engine finds useful."""
    guide_weight: Annotated[float, Field(gt=0)] = 10.0
    """Weight of the guides against the style, where the style takes part."""
    match_style: bool = False
    """Whether styled frames take part in matching; then each styled clip is matched anew."""
    initialize: Literal["identity", "random"] = "identity"
    """Where a search starts: at the same place, or anywhere."""
    tracking_window_size: Annotated[int, Field(ge=0, le=16)] = 0
    """Let a match also start from those of so many neighbours of its source, on either side; costs as many matches."""
    blend: Literal["detail", "mean"] = "detail"
    """`detail` weighs frames by how well they match and keeps what blending takes away; `mean` is the plain mean."""
    tolerance: Annotated[float, Field(gt=0)] = 10.0
    """Grey levels by which a guide may differ where it is brought to: there a frame's weight has fallen to 0.6."""
    outliers: Annotated[float, Field(ge=0)] = 15.0
    """Grey levels by which a frame may differ from the others; 0 keeps all."""
    restore: Annotated[float, Field(ge=0, le=1)] = 1.0
    """How much of the detail that blending takes away is brought back by way of the guide."""
    own_detail: Annotated[float, Field(ge=0, le=1)] = 0.2
    """How much of each frame's own remaining fine detail is kept."""
    detect_cuts: bool = True
    """Whether frames are kept from blending across a cut."""
    cache_path: OutputPath | None = None
    """Folder for matches, which later runs take up; without one it is in the user's cache folder."""
    cache_gigabytes: Annotated[float, Field(ge=0)] = 4.0
    """The most that the folder may hold; 0 keeps nothing."""

    def build(self, runtime: Runtime) -> WindowSmoother:
        return WindowSmoother(
            self.mode,
            self.window_size,
            native_matching(
                runtime,
                patch=self.minimum_patch_size,
                sweeps=self.num_iter or 0,
                guide_weight=self.guide_weight if self.match_style or self.mode == "accurate" else None,
                initialize=self.initialize,
                match_style=self.match_style,
                tracking=self.tracking_window_size,
            ),
            Blending(self.blend, self.tolerance, self.outliers, self.restore, self.own_detail),
            open_cache(self.cache_path, self.cache_gigabytes),
            detect_cuts=self.detect_cuts,
        )
