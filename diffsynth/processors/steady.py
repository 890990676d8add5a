"""Maps that hold still: brought to one scale over the clip, and averaged along the motion of what they show."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from diffsynth import disk
from diffsynth.frames import FrameStore, Image
from diffsynth.processors.base import Advance, Frames, MapAt, Processor, ProcessorSettings, Refined, to_levels
from diffsynth.processors.flow import Flow, FlowFinder, fetch, join, likeness, within
from diffsynth.processors.levels import LOOK_ALIKE, Levels, find_levels

LEVELS = "levels.json"


@dataclass(frozen=True)
class Steadying:
    """How maps are made to hold still."""

    window: int
    """Frames on either side that are averaged with each."""
    level: bool = False
    """Bring all frames to one scale first."""
    tolerance: float | None = None
    """Maps that differ by this many levels hardly mix: for depth, where a difference is another thing's depth. Edges
    come and go by their whole strength, and there that is the flicker; they mix whatever they differ."""
    normals: bool = False
    """The map holds vectors; their average keeps their length."""


class SteadySettings(ProcessorSettings):
    """What the config of every steady form of a processor has."""

    window: Annotated[int, Field(ge=0, le=16)] = 2
    """Frames on either side that each map is averaged with, along the motion."""

    def steadied(self, processor: Processor) -> Processor:
        return steady(processor, Steadying(self.window))


def steady_depth(window: int, *, level: bool) -> Steadying:
    """How maps of depth are made to hold still."""
    return Steadying(window, level=level, tolerance=40.0)


class SteadyDepthSettings(SteadySettings):
    """Steady forms of maps of depth, which come with a scale of their own each."""

    def steadied(self, processor: Processor) -> Processor:
        return steady(processor, steady_depth(self.window, level=True))


class SteadyNormalSettings(SteadySettings):
    """Steady forms of maps that hold vectors."""

    def steadied(self, processor: Processor) -> Processor:
        return steady(processor, Steadying(self.window, normals=True))


def steady(processor: Processor, steadying: Steadying) -> Refined:
    """A processor whose maps are made to hold still. Memory holds the window, whatever the clip's length."""

    def prepare(frames: Frames, raw: FrameStore, folder: Path, advance: Advance) -> MapAt:
        levels = _levels(frames, raw, folder / LEVELS, advance) if steadying.level else Levels.unchanged(len(raw))
        around = _Neighbourhood(frames, raw, levels, steadying.window)
        return lambda position: _averaged(around.at(position), position, steadying)

    return Refined(processor, prepare, {"steady": asdict(steadying)}, counts=int(steadying.level))


def _levels(frames: Frames, raw: FrameStore, file: Path, advance: Advance) -> Levels:
    if file.is_file():
        kept = json.loads(file.read_bytes())
        advance(len(raw))
        return Levels(np.array(kept["gains"]), np.array(kept["offsets"]))
    levels = find_levels(frames, raw, advance)
    disk.write_json(file, {"gains": levels.gains.tolist(), "offsets": levels.offsets.tolist()})
    return levels


class _Neighbourhood:
    """The frames, maps and motions around one position; each is read or found once as the position moves on."""

    def __init__(self, frames: Frames, raw: FrameStore, levels: Levels, window: int) -> None:
        self._frames, self._raw, self._levels, self._window = frames, raw, levels, window
        self._finder = FlowFinder()
        self.frames: dict[int, Image] = {}
        self.maps: dict[int, NDArray[np.float32]] = {}
        self._flows: dict[tuple[int, int], Flow] = {}

    def at(self, position: int) -> Self:
        first, last = max(position - self._window, 0), min(position + self._window, len(self._raw) - 1)
        for gone in [each for each in self.frames if not first <= each <= last]:
            del self.frames[gone], self.maps[gone]
        for gone_pair in [pair for pair in self._flows if not first <= min(pair) <= max(pair) <= last]:
            del self._flows[gone_pair]
        for each in range(first, last + 1):
            if each not in self.frames:
                self.frames[each] = self._frames[each]
                self.maps[each] = self._levels.apply(each, self._raw[each])
        return self

    def ways(self, position: int, direction: int) -> "list[tuple[int, Flow]]":
        """The neighbours on one side, from near to far, each with the motion that leads there."""
        found: list[tuple[int, Flow]] = []
        way: Flow | None = None
        for each in range(position + direction, position + direction * (self._window + 1), direction):
            if each not in self.frames:
                break
            step = self._step(each - direction, each)
            way = step if way is None else join(way, step)
            found.append((each, way))
        return found

    def _step(self, here: int, there: int) -> Flow:
        if (here, there) not in self._flows:
            self._flows[here, there] = self._finder.flow(self.frames[here], self.frames[there])
        return self._flows[here, there]


def _averaged(around: _Neighbourhood, position: int, steadying: Steadying) -> Image:
    frame, own = around.frames[position], around.maps[position]
    total, weights = own.copy(), np.ones(own.shape[:2], np.float32)
    lengths = _length(own) if steadying.normals else None
    for direction in (-1, 1):
        for neighbour, way in around.ways(position, direction):
            fetched = fetch(around.maps[neighbour], way)
            weight = likeness(frame, fetch(around.frames[neighbour], way), LOOK_ALIKE) * within(way)
            weight *= np.float32(1 - abs(neighbour - position) / (steadying.window + 1))
            if steadying.tolerance is not None:
                weight *= likeness(own.astype(np.uint8), fetched, steadying.tolerance)
            total += fetched * weight[..., None]
            weights += weight
            if lengths is not None:
                lengths += _length(fetched) * weight
    mean = total / weights[..., None]
    if lengths is not None:
        vectors = mean - np.float32(127.5)
        mean = vectors * (lengths / weights / np.maximum(_length(mean), 1e-3))[..., None] + np.float32(127.5)
    return to_levels(mean)


def _length(found: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W): how long the vectors are that a map's colours stand for, with grey as zero."""
    return np.asarray(np.linalg.norm(found - np.float32(127.5), axis=-1), dtype=np.float32)
