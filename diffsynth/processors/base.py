"""What all processors share: a clip goes in, a clip of maps comes out, frame by frame through the disk."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from diffsynth.config import ConfigModel
from diffsynth.frames import FrameStore, FrameWriter, Image, is_complete

Advance = Callable[[int], None]
"""Hears how many more frames were done."""

Mapper = Callable[[Sequence[Image]], Sequence[Image]]
"""RGB frames of one size to as many maps of that size, none of which it changes or keeps."""

MAPS, RAW = "maps", "raw"
"""Where in its folder a processor leaves the result, and what the result is made from."""


class Frames(Protocol):
    """Frames that are read one at a time: a `FrameStore`, or a few `Stills`."""

    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def has_alpha(self) -> bool: ...
    def __len__(self) -> int: ...
    def __getitem__(self, position: int, /) -> Image: ...
    def alpha(self, position: int) -> Image: ...


class Stills:
    """A few pictures of one size in memory: references, a style image."""

    def __init__(self, pictures: Sequence[Image], alphas: Sequence[Image] | None = None) -> None:
        shapes = {each.shape for each in pictures}
        if len(shapes) != 1:
            raise ValueError(f"pictures of one size are needed, got {sorted(shapes)}")
        self.height, self.width, _ = shapes.pop()
        self.has_alpha = alphas is not None
        self._pictures, self._alphas = tuple(pictures), alphas

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, position: int) -> Image:
        return self._pictures[position].copy()

    def alpha(self, position: int) -> Image:
        if self._alphas is None:
            return np.full((self.height, self.width), 255, np.uint8)
        return self._alphas[position].copy()


class Processor(Protocol):
    """Turns a clip into the condition that one ControlNet reads. It holds settings; networks live during `process`."""

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """All that the maps depend on besides the frames, as JSON: name, settings, what the weights hold."""
        ...

    @property
    def passes(self) -> int:
        """How many times each frame is counted by `advance`."""
        ...

    @property
    def looks_around(self) -> bool:
        """Whether a frame's map depends on other frames, or on where in the clip it stands."""
        ...

    def process(self, frames: Frames, folder: Path, advance: Advance) -> FrameStore:
        """Write one map a frame to `folder/maps`. Continues what an interrupted call left there, to the same bytes."""
        ...


class ProcessorSettings(ConfigModel):
    """What the config of every processor has."""

    VERSION: ClassVar[int] = 1
    """Grows when the same settings begin to give other maps, so that a cache forgets the old ones."""
    INERT: ClassVar[frozenset[str]] = frozenset({"device", "model_path", "batch_size"})
    """Keys that the fingerprint leaves out: they say where the work is done, or where the weights lie."""

    @classmethod
    def name(cls) -> str:
        """What configs call this processor."""
        return str(cls.model_fields["type"].default)

    def models(self) -> tuple[str, ...]:
        """The local paths or hub ids of the weights that it needs."""
        return ()

    def fingerprint(self, **facts: Any) -> dict[str, Any]:
        """The settings by which one result differs from another, and `facts` (weights, precision) beside them."""
        settings = self.model_dump(mode="json", exclude=set(self.INERT))
        return {"processor": self.name(), "version": self.VERSION, **settings, **facts}


@dataclass(frozen=True)
class PerFrame:
    """Lifts a map of single frames to clips. Memory holds one batch, whatever the clip's length."""

    fingerprint: Mapping[str, Any]
    opened: Callable[[], AbstractContextManager[Mapper]]
    """Makes the mapper ready for one clip, and frees what it held afterwards."""
    batch_size: int = 1
    passes: int = 1
    looks_around: bool = False

    @classmethod
    def plain(cls, fingerprint: Mapping[str, Any], function: Callable[[Image], Image]) -> "PerFrame":
        """A function of one frame, which needs nothing made ready."""

        def each(frames: Sequence[Image]) -> Sequence[Image]:
            return [function(frame) for frame in frames]

        return cls(fingerprint, lambda: nullcontext(each))

    def process(self, frames: Frames, folder: Path, advance: Advance) -> FrameStore:
        if is_complete(folder / MAPS):
            advance(len(frames))
            return FrameStore(folder / MAPS)
        with FrameWriter(folder / MAPS, frames.height, frames.width) as writer:
            advance(writer.count)
            # A batch that was cut short is computed again as a whole: a network's last bit may hang on its batch.
            start = writer.count - writer.count % self.batch_size
            with self.opened() as mapper:
                for positions in batches(start, len(frames), self.batch_size):
                    maps = mapper([frames[position] for position in positions])
                    fresh = maps[writer.count - positions.start :]
                    for each in fresh:
                        writer.append(each)
                    advance(len(fresh))
            return writer.finish()


MapAt = Callable[[int], Image]
"""The finished map of a frame, from its position."""


@dataclass(frozen=True)
class Refined:
    """A processor whose maps are gone over once more, when those of the whole clip are there."""

    processor: Processor
    prepare: Callable[[Frames, FrameStore, Path, Advance], MapAt]
    """Gets the frames, their raw maps, a folder for what it wants to keep through an interruption, and `advance`."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the fingerprint is to say of it besides the processor's own settings."""
    counts: int = 0
    """How many times `prepare` counts each frame."""
    looks_around: bool = True

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {**self.processor.fingerprint, **self.facts}

    @property
    def passes(self) -> int:
        return self.processor.passes + self.counts + 1

    def process(self, frames: Frames, folder: Path, advance: Advance) -> FrameStore:
        if is_complete(folder / MAPS):
            advance(self.passes * len(frames))
            return FrameStore(folder / MAPS)
        raw = self.processor.process(frames, folder / RAW, advance)
        map_at = self.prepare(frames, raw, folder, advance)
        with FrameWriter(folder / MAPS, raw.height, raw.width) as writer:
            advance(writer.count)
            for position in range(writer.count, len(raw)):
                writer.append(map_at(position))
                advance(1)
            store = writer.finish()
        raw.close()
        shutil.rmtree(folder / RAW)
        return store


def batches(start: int, stop: int, size: int) -> Iterator[range]:
    for first in range(start, stop, size):
        yield range(first, min(first + size, stop))


def as_rgb(grey: Image) -> Image:
    """An (H, W) map as the (H, W, 3) that stores and ControlNets take."""
    return np.repeat(grey[:, :, None], 3, axis=2)


def to_levels(values: NDArray[Any]) -> Image:
    """Values of 0 to 255 rounded to the nearest level; what lies outside is clipped."""
    levels: Image = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    return levels
