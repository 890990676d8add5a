"""`VideoPatchMatchSmoother`: every frame blended with the whole clip, by a table of remaps."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from diffsynth.config import ConfigModel, OptionalPath, OutputPath
from diffsynth.engines.program import LONGEST, BinTimeout
from diffsynth.runtime import Runtime
from diffsynth.smoothers.blending import Blending
from diffsynth.smoothers.match_cache import open_cache
from diffsynth.smoothers.postprocessing import PostprocessingConfig
from diffsynth.smoothers.remapping import Vote
from diffsynth.smoothers.window_smoother import Matching, WindowSmoother, native_matching

WHOLE_CLIP = 2**31
PATCH, WEIGHT, VOTE_PATCH = 21, 100.0, 11


def _fits_bin_path(engine: str | None, info: ValidationInfo) -> str | None:
    """A binary that would never be run is an error: whoever names one wants it used."""
    if info.data.get("bin_path") is not None and engine not in (None, "Ebsynth"):
        raise PydanticCustomError("path", 'must be "Ebsynth", or left out, where there is a "bin_path"', {})
    return engine


class VideoPatchMatchSmootherConfig(ConfigModel):
    """Blend every frame with the whole clip; the number of matches grows with n·log n."""

    type: Literal["VideoPatchMatchSmoother"] = Field(default="VideoPatchMatchSmoother", exclude=True)
    bin_path: OptionalPath = None
    """An `ebsynth_nnf` binary to run; without one the engine runs in this process."""
    engine_name: Annotated[Literal["native", "Pytorch", "Ebsynth"] | None, AfterValidator(_fits_bin_path)] = None
    """What finds the matches; left out, `Ebsynth` where there is a `bin_path`, else `native`. `Ebsynth` without a
    `bin_path` is `native` too."""
    bin_timeout: BinTimeout = LONGEST
    """Seconds that the binary may take for one pair of frames; then it is stopped, and the run with it."""
    cache_path: OutputPath | None = None
    """Folder for matches, which later runs take up, and for the binary's files; left out, in the user's cache folder
    and where the system keeps temporary files."""
    num_iter: Annotated[int, Field(ge=1, le=100)] = 1
    """How often the clip is smoothed, each time from the last result."""
    postprocessing: PostprocessingConfig = PostprocessingConfig()
    """Contrast and sharpness, applied before and after."""
    blend: Literal["mean", "detail"] = "mean"
    """`mean` is the plain mean; `detail` weighs frames by how well they match, as FastBlendSmoother does."""

    def build(self, runtime: Runtime) -> WindowSmoother:
        touch = self.postprocessing.build()
        return WindowSmoother(
            "prefix" if self.blend == "mean" else "fast",
            WHOLE_CLIP,
            self._matching(runtime),
            Blending(self.blend),
            open_cache(self.cache_path, 4.0),
            rounds=self.num_iter,
            before=touch,
            after=touch,
        )

    def _matching(self, runtime: Runtime) -> Matching:
        if self.engine_name == "Pytorch":
            from diffsynth.engines.pytorch import PytorchEngine

            return Matching(PytorchEngine(runtime), _vote(runtime), "pytorch/1", match_style=True)
        if self.bin_path is not None:
            from diffsynth.engines.binary import NnfProgram

            program = NnfProgram(self.bin_path, PATCH, WEIGHT, self.cache_path, self.bin_timeout)
            file = self.bin_path.stat()
            name = f"{self.bin_path} {file.st_size} {file.st_mtime_ns} patch {PATCH} weight {WEIGHT}"
            return Matching(program, _vote(runtime), name, match_style=True)
        return native_matching(runtime, patch=PATCH, vote_patch=VOTE_PATCH)


def _vote(runtime: Runtime) -> Vote:
    from diffsynth.engines.native import NativeEngine, Settings

    return NativeEngine(Settings(patch=VOTE_PATCH, threads=runtime.threads or 0)).vote
