"""`FastBlendSmoother`: every frame blended with a window of its neighbours, by matches of the guides."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from diffsynth.config import ConfigModel, OutputPath
from diffsynth.engines.base import Engine, Init
from diffsynth.frames import Image
from diffsynth.progress import Progress
from diffsynth.runtime import Runtime
from diffsynth.smoothers.base import Frames, check_pair
from diffsynth.smoothers.block_table import build
from diffsynth.smoothers.blending import Blending
from diffsynth.smoothers.cuts import find_cuts
from diffsynth.smoothers.match_cache import MatchCache, default_folder
from diffsynth.smoothers.matching import Matcher
from diffsynth.smoothers.remapping import Remapper, Vote
from diffsynth.smoothers.windows import Shot, shots

Mode = Literal["fast", "balanced", "accurate"]


class FastBlendSmootherConfig(ConfigModel):
    """Blend every frame with a window of its neighbours, and keep its detail."""

    type: Literal["FastBlendSmoother"] = Field(default="FastBlendSmoother", exclude=True)
    mode: Mode = "fast"
    """`fast` matches a number of pairs that grows with the window's logarithm, `balanced` every frame of the window,
    `accurate` all of them jointly, so that they agree with one another."""
    window_size: Annotated[int, Field(ge=1)] = 15
    """Frames on either side that take part."""
    minimum_patch_size: Annotated[int, Field(ge=3, le=33)] = 5
    """Side of the square patches that are compared at the finest level; odd."""
    num_iter: Annotated[int, Field(ge=1, le=100)] | None = None
    """Sweeps of search on each level; left out, as many as the engine finds useful."""
    guide_weight: Annotated[float, Field(gt=0)] = 10.0
    """Weight of the guides against the style, where the style takes part."""
    match_style: bool = False
    """Whether styled frames take part in matching; then each styled clip is matched anew."""
    initialize: Literal["identity", "random"] = "identity"
    """Where a search starts: at the same place, or anywhere."""
    blend: Literal["detail", "mean"] = "detail"
    """`detail` weighs frames by how well they match, and brings back what blending takes away; `mean` is the plain mean."""
    tolerance: Annotated[float, Field(gt=0)] = 6.0
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

    def build(self, runtime: Runtime) -> "FastBlendSmoother":
        from diffsynth.engines.native import NativeEngine, Settings

        matching = Settings(
            patch=self.minimum_patch_size,
            weights=(self.guide_weight,) if self.match_style else None,
            sweeps=self.num_iter or 0,
            threads=runtime.threads or 0,
        )
        limit = round(self.cache_gigabytes * 2**30)
        return FastBlendSmoother(
            self.mode,
            self.window_size,
            NativeEngine(matching),
            NativeEngine(Settings(patch=3, threads=runtime.threads or 0)).vote,
            f"native {matching.patch} {matching.weights} {matching.sweeps} {self.initialize}",
            Blending(self.blend, self.tolerance, self.outliers, self.restore, self.own_detail),
            self.initialize,
            MatchCache(self.cache_path or default_folder(), limit) if limit else None,
            match_style=self.match_style,
            detect_cuts=self.detect_cuts,
        )


@dataclass(frozen=True)
class FastBlendSmoother:
    """The smoother with its engine."""

    mode: Mode
    window_size: int
    engine: Engine[Any]
    vote: Vote
    fingerprint: str
    """Names all settings that decide a match."""
    blending: Blending = Blending()
    initialize: Init = "identity"
    cache: MatchCache | None = None
    match_style: bool = False
    detect_cuts: bool = True

    def prepare(self, guide: Frames, progress: Progress | None = None) -> "PreparedFastBlend":
        cuts = find_cuts(guide) if self.detect_cuts else []
        return PreparedFastBlend(self, guide, shots(cuts, len(guide)), self.matcher(guide), progress or Progress())

    def matcher(self, guide: Frames, style: Frames | None = None) -> Matcher:
        return Matcher(guide, self.engine, self.fingerprint, self.cache, self.initialize, style)


@dataclass(frozen=True)
class PreparedFastBlend:
    """The smoother tied to a guide clip."""

    smoother: FastBlendSmoother
    guide: Frames
    shots: tuple[Shot, ...]
    matcher: Matcher
    progress: Progress

    def smooth(self, style: Frames, work: Path, start: int = 0) -> Iterator[Image]:
        check_pair(self.guide, style)
        smoother = self.smoother
        matcher = smoother.matcher(self.guide, style) if smoother.match_style else self.matcher
        remapper = Remapper.of(matcher, smoother.vote, style, smoother.blending)
        match smoother.mode:
            case "fast":
                return self._fast(remapper, work, start)
            case "balanced":
                return self._balanced(remapper, start)
            case "accurate":
                raise NotImplementedError

    def _fast(self, remapper: Remapper, work: Path, start: int) -> Iterator[Image]:
        nodes = build(remapper, self.smoother.window_size, self.shots, work, self.progress)
        for t, shot in self._from(start):
            yield remapper.finished(remapper.blend(nodes.layers(t, shot)), t)

    def _balanced(self, remapper: Remapper, start: int) -> Iterator[Image]:
        for t, shot in self._from(start):
            layers = remapper.layers(shot.window(t, self.smoother.window_size), t)
            yield remapper.finished(remapper.blend(layers), t)

    def _from(self, start: int) -> Iterator[tuple[int, Shot]]:
        for shot in self.shots:
            for t in range(max(shot.first, start), shot.stop):
                yield t, shot
