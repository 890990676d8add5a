"""`EbsynthSmoother`: each frame becomes the mean of its neighbours, re-synthesised in its place."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from diffsynth.config import ConfigModel, OptionalPath, OutputPath
from diffsynth.engines.base import Pair
from diffsynth.engines.program import LONGEST, BinTimeout
from diffsynth.frames import Image
from diffsynth.progress import Progress
from diffsynth.runtime import Runtime
from diffsynth.smoothers.base import Frames, check_pair, in_order
from diffsynth.smoothers.blending import to_image
from diffsynth.smoothers.cuts import find_cuts
from diffsynth.smoothers.windows import Shot, shots

PATCH, WEIGHT = 21, 100.0

Synthesis = Callable[[Sequence[Pair], Mapping[int, Image], Mapping[int, Image]], Sequence[Image]]
"""Paints the target of each (source, target) from the source's style, led by the guides."""


def _without_itself(offsets: tuple[int, ...]) -> tuple[int, ...]:
    if 0 in offsets or len(set(offsets)) != len(offsets):
        raise PydanticCustomError("path", "must hold different offsets, none of them 0", {})
    return offsets


class EbsynthSmootherConfig(ConfigModel):
    """Re-synthesise each frame from its neighbours in a sliding window, and take the mean."""

    type: Literal["EbsynthSmoother"] = Field(default="EbsynthSmoother", exclude=True)
    bin_path: OptionalPath = None
    """An `ebsynth` binary to run; without one the engine runs in this process."""
    bin_timeout: BinTimeout = LONGEST
    """Seconds that the binary may take for one pair of frames; then it is stopped, and the run with it."""
    cache_path: OutputPath | None = None
    """Folder for the files that the binary reads and writes; left out, where the system keeps temporary files."""
    smooth_index: Annotated[tuple[int, ...], Field(strict=False, min_length=1), AfterValidator(_without_itself)] = (
        -2,
        -1,
        1,
        2,
    )
    """Offsets of the frames that are synthesised from each frame."""
    n_jobs: Annotated[int, Field(ge=1, le=1024)] = 16
    """Pairs that are worked on at the same time."""

    def build(self, runtime: Runtime) -> "EbsynthSmoother":
        synthesise: Synthesis
        if self.bin_path is not None:
            from diffsynth.engines.binary import EbsynthProgram

            synthesise = EbsynthProgram(self.bin_path, PATCH, WEIGHT, self.cache_path, self.n_jobs, self.bin_timeout)
        else:
            from diffsynth.engines.native import NativeEngine, Settings

            engine = NativeEngine(Settings(patch=PATCH, weights=(WEIGHT,), threads=runtime.threads or 0))
            synthesise = InProcess(engine)
        return EbsynthSmoother(self.smooth_index, synthesise, self.n_jobs)


@dataclass(frozen=True)
class InProcess:
    """The native engine as a `Synthesis`."""

    engine: Any

    def __call__(
        self, pairs: Sequence[Pair], guides: Mapping[int, Image], styles: Mapping[int, Image]
    ) -> Sequence[Image]:
        frames = {t: self.engine.frame([guide]) for t, guide in guides.items()}
        return list(self.engine.estimate(pairs, frames, styles).voted)


@dataclass(frozen=True)
class EbsynthSmoother:
    """Each output is the plain mean of a frame and of what its neighbours at `offsets` look like in its place.

    An offset d says that frame i is brought to frame i + d. Matching takes the style in, so each styled clip is matched
    anew.
    """

    offsets: tuple[int, ...]
    synthesise: Synthesis
    batch: int = 16
    """Pairs that are worked on, and lie in memory, at a time."""

    def prepare(self, guide: Frames, progress: Progress | None = None) -> "PreparedEbsynth":
        return PreparedEbsynth(self, guide, shots(find_cuts(in_order(guide)), len(guide)))


@dataclass(frozen=True)
class PreparedEbsynth:
    """The smoother tied to a guide clip."""

    smoother: EbsynthSmoother
    guide: Frames
    shots: tuple[Shot, ...]

    def smooth(self, style: Frames, work: Path, start: int = 0) -> Iterator[Image]:
        check_pair(self.guide, style)
        for shot in self.shots:
            for t in range(max(shot.first, start), shot.stop):
                yield self._smoothed(style, t, shot)

    def _smoothed(self, style: Frames, t: int, shot: Shot) -> Image:
        sources = sorted(t - offset for offset in self.smoother.offsets if t - offset in shot)
        own = style[t]
        if not sources:
            return own
        total = own.astype(np.float32)
        for start in range(0, len(sources), self.smoother.batch):
            some = sources[start : start + self.smoother.batch]
            guides = {i: self.guide[i] for i in (*some, t)}
            styles = {i: style[i] for i in some}
            for painted in self.smoother.synthesise([(source, t) for source in some], guides, styles):
                total += painted
        return to_image(total / (len(sources) + 1))
