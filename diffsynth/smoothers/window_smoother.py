"""The one smoother behind all that blend a window of frames; their configs differ in what they set."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from diffsynth.engines.base import Engine
from diffsynth.frames import FrameStore, FrameWriter, Image, is_complete
from diffsynth.progress import Progress
from diffsynth.runtime import Runtime
from diffsynth.smoothers import block_table, prefix_table
from diffsynth.smoothers.base import Frames, check_pair, in_order
from diffsynth.smoothers.blending import Blending, to_image
from diffsynth.smoothers.cuts import find_cuts
from diffsynth.smoothers.joint_matching import JointMatching
from diffsynth.smoothers.match_cache import MatchCache, digest
from diffsynth.smoothers.matching import Matcher
from diffsynth.smoothers.remapping import Remapper, Vote
from diffsynth.smoothers.tracking import Tracker
from diffsynth.smoothers.windows import Shot, shots

Mode = Literal["fast", "balanced", "accurate", "prefix"]
"""How the frames of a window come together: by blocks, one by one, one by one and jointly, or by the seed's table."""

VOTE_PATCH = 3
"""Side of the patches that paint. Painting with the patches that were compared blurs more and finds nothing better."""


@dataclass(frozen=True)
class Matching:
    """What finds matches and paints with them."""

    engine: Engine[Any]
    vote: Vote
    fingerprint: str
    """Names all settings that decide a match."""
    initialize: Literal["identity", "random"] = "identity"
    match_style: bool = False
    """Whether styled frames take part."""
    joint: Engine[Any] | None = None
    """For `accurate`: compares guide and style of two frames as two guides."""

    tracking: int = 0
    """Neighbours on either side of a source whose matches its own may start from."""

    def matcher(self, guide: Frames, cache: MatchCache | None, style: Frames | None = None) -> Matcher:
        plain = Matcher(guide, self.engine, self.fingerprint, cache, self.initialize, style)
        if self.tracking == 0:
            return plain
        tracker = Tracker(plain, self.vote, self.tracking, len(guide))
        name = f"{self.fingerprint} tracking {self.tracking}"
        return Matcher(guide, self.engine, name, cache, None, style, tracker)


def native_matching(
    runtime: Runtime,
    *,
    patch: int,
    sweeps: int = 0,
    guide_weight: float | None = None,
    initialize: Literal["identity", "random"] = "identity",
    match_style: bool = False,
    vote_patch: int = VOTE_PATCH,
    tracking: int = 0,
) -> Matching:
    """The project's own engine. `guide_weight` counts against the style's 1 where the style takes part."""
    from diffsynth.engines.native import NativeEngine, Settings

    plain = Settings(patch=patch, sweeps=sweeps, threads=runtime.threads or 0)
    weights = (guide_weight,) if match_style and guide_weight is not None else None
    joint = None if guide_weight is None else NativeEngine(replace(plain, weights=(guide_weight, 1.0)))
    return Matching(
        NativeEngine(replace(plain, weights=weights)),
        NativeEngine(replace(plain, patch=vote_patch)).vote,
        f"native {_build()} patch {patch} sweeps {sweeps} weights {weights} from {initialize}",
        initialize,
        match_style,
        joint,
        tracking,
    )


def _build() -> str:
    """Names the build of the engine: another may find other matches."""
    module = find_spec("diffsynth.engines._native")
    return digest(Path(module.origin).read_bytes())[:12] if module is not None and module.origin else "none"


@dataclass(frozen=True)
class WindowSmoother:
    """Blends each frame with up to `window_size` neighbours on either side."""

    mode: Mode
    window_size: int
    matching: Matching
    blending: Blending = field(default_factory=Blending)
    cache: MatchCache | None = None
    detect_cuts: bool = True
    rounds: int = 1
    """How often a clip is smoothed, each time from the last result."""
    before: Callable[[Image], Image] | None = None
    """Done to each styled frame first."""
    after: Callable[[Image], Image] | None = None
    """Done to each smoothed frame last."""

    def prepare(self, guide: Frames, progress: Progress | None = None) -> "PreparedWindow":
        cuts = find_cuts(in_order(guide)) if self.detect_cuts else []
        matcher = self.matching.matcher(guide, self.cache)
        return PreparedWindow(self, guide, shots(cuts, len(guide)), matcher, progress or Progress())


@dataclass(frozen=True)
class Touched:
    """A clip with something done to each frame as it is read."""

    frames: Frames
    touch: Callable[[Image], Image]

    @property
    def height(self) -> int:
        return self.frames.height

    @property
    def width(self) -> int:
        return self.frames.width

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, position: int) -> Image:
        return self.touch(self.frames[position])


@dataclass(frozen=True)
class PreparedWindow:
    """A window smoother tied to its guide."""

    smoother: WindowSmoother
    guide: Frames
    shots: tuple[Shot, ...]
    matcher: Matcher
    progress: Progress = field(repr=False)

    def smooth(self, style: Frames, work: Path, start: int = 0) -> Iterator[Image]:
        check_pair(self.guide, style)
        smoother = self.smoother
        if smoother.before is not None:
            style = Touched(style, smoother.before)
        for number in range(1, smoother.rounds):
            style = self._stored(style, work / f"round{number}")
        for image in self._once(style, work / f"round{smoother.rounds}", start):
            yield image if smoother.after is None else smoother.after(image)

    def _stored(self, style: Frames, path: Path) -> FrameStore:
        """The clip smoothed once more, on disk."""
        if not is_complete(path / "result"):
            with FrameWriter(path / "result", style.height, style.width) as writer:
                for image in self._once(style, path, writer.count):
                    writer.append(image)
                writer.finish()
        return FrameStore(path / "result")

    def _once(self, style: Frames, work: Path, start: int) -> Iterator[Image]:
        smoother = self.smoother
        matching = smoother.matching
        matcher = matching.matcher(self.guide, smoother.cache, style) if matching.match_style else self.matcher
        remapper = Remapper.of(matcher, matching.vote, style, smoother.blending)
        ways = {"fast": self._fast, "balanced": self._balanced, "accurate": self._accurate, "prefix": self._prefix}
        return ways[smoother.mode](remapper, work, start)

    def _fast(self, remapper: Remapper, work: Path, start: int) -> Iterator[Image]:
        nodes = block_table.build(remapper, self.smoother.window_size, self.shots, work, self.progress)
        for t, shot in self._from(start):
            yield remapper.finished(remapper.blend(nodes.layers(t, shot)), t)

    def _balanced(self, remapper: Remapper, _work: Path, start: int) -> Iterator[Image]:
        for t, shot in self._from(start):
            layers = remapper.layers(shot.window(t, self.smoother.window_size), t)
            yield remapper.finished(remapper.blend(layers), t)

    def _accurate(self, remapper: Remapper, _work: Path, start: int) -> Iterator[Image]:
        assert self.smoother.matching.joint is not None
        joint = JointMatching(remapper, self.smoother.matching.joint)
        for t, shot in self._from(start):
            window = shot.window(t, self.smoother.window_size)
            yield remapper.finished(joint.blend(window, t, [1.0] * len(window), own=True), t)

    def _prefix(self, remapper: Remapper, work: Path, start: int) -> Iterator[Image]:
        for shot in self.shots:
            if shot.stop <= start:
                continue
            sides = prefix_table.build_sides(remapper, self.smoother.window_size, shot, work)
            for t in range(max(shot.first, start), shot.stop):
                yield to_image(prefix_table.blended(*sides, t - shot.first))

    def _from(self, start: int) -> Iterator[tuple[int, Shot]]:
        for shot in self.shots:
            for t in range(max(shot.first, start), shot.stop):
                yield t, shot
