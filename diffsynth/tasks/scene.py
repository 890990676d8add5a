"""One clip as it is rendered, and the pictures that come with it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from diffsynth.attention.patterns import Entry, renumbered
from diffsynth.cache import ContentCache
from diffsynth.errors import ConfigError
from diffsynth.frames import FrameStore, Image
from diffsynth.images import read_image
from diffsynth.processors.base import Frames, Stills
from diffsynth.processors.conditions import condition as cached_condition
from diffsynth.progress import Progress
from diffsynth.run_dir import RunFolder
from diffsynth.sd.control import ClipMaps
from diffsynth.sd.layout import floored
from diffsynth.sized import Resampling, Sized, scaled, sized_store
from diffsynth.tasks.clip import ClipReader
from diffsynth.tasks.kept import Kept, Mask, Painted
from diffsynth.tasks.ready_condition import ReadyCondition
from diffsynth.tasks.shown import Shown, only
from diffsynth.tasks.stylize_parts import Control

PAINTED_KEY = re.compile(r"keyframes\[(\d+)\]")


@dataclass(frozen=True)
class Scene:
    """Frames at their size, and where work on them lies."""

    inputs: Mapping[str, Path]
    asked: FrameStore
    """At the size that was asked for."""
    source: FrameStore
    """At the size of the pictures."""
    shown: Shown | None
    """Where only some frames of the clip are rendered."""
    reader: ClipReader
    run: RunFolder
    progress: Progress

    @classmethod
    def of(
        cls,
        inputs: Mapping[str, Path],
        asked: FrameStore,
        shown: Shown | None,
        reader: ClipReader,
        run: RunFolder,
        progress: Progress,
    ) -> "Scene":
        source = sized_store(asked, floored(asked.height), floored(asked.width), run.work("sized"))
        return cls(inputs, asked, source, shown, reader, run, progress)

    def only(self, shown: Shown) -> "Scene":
        """Some of the frames."""
        asked = only(self.asked, shown.positions, self.run.work("differing"))
        source = asked
        if self.source is not self.asked:
            source = only(self.source, shown.positions, self.run.work("differing-sized"))
        return replace(self, asked=asked, source=source, shown=shown)

    @property
    def positions(self) -> Sequence[int] | None:
        """Which frames of the clip are rendered; None for all."""
        return None if self.shown is None else self.shown.positions

    def references(self) -> list[Image]:
        """The reference pictures, stretched to the size that was asked for."""
        paths = [path for key, path in self.inputs.items() if key.startswith("frames_reference[")]
        return [scaled(read_image(path)[0], self.asked.height, self.asked.width, Resampling.BICUBIC) for path in paths]

    def pattern(self, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        """A pattern whose key frames are numbered as they are rendered."""
        return renumbered(entries, self._place)

    def kept(self, feather: int, *, regional: bool) -> Kept:
        """What is not painted anew. `regional`: outside of the mask, another prompt is painted instead."""
        height, width = self.source.height, self.source.width
        places = {frame: self._place(frame) for frame in painted(self.inputs)}
        paths = {place: painted(self.inputs)[frame] for frame, place in places.items() if place is not None}
        aspect = (self.asked.height, self.asked.width) if self.reader.geometry.mode == "crop" else None
        mask = None
        if "mask" in self.inputs:
            ready = ReadyCondition(self.reader, self.shown)
            pictures = ready.read(self.inputs["mask"], self.asked, "mask", self.run, self.progress)
            mask = Mask(Sized(pictures, height, width), feather)
        own = Painted(paths, height, width, aspect)
        return Kept(self.source, None if regional else mask, own, mask if regional else None)

    def _place(self, frame: int) -> int | None:
        """Where a frame of the clip stands among those that are rendered; None where it is not one of them."""
        place = frame if self.shown is None else self.shown.place(frame)
        count = len(self.asked) if self.shown is None else self.shown.count
        if frame < count and (place is None or place < len(self.asked)):
            return place
        problem = (
            f'"keyframes" holds frame {frame}, but the clip has {count} frames, counted from 0, as it is cut here. '
            "Leave it out, or take a longer part of the clip."
        )
        raise ConfigError([problem])

    def maps(self, control: Control, number: int) -> ClipMaps:
        """What a ControlNet looks at, at the size of the pictures."""
        references = [Stills([each]) for each in self.references()]
        if control.processor is None:
            assert control.ready is not None
            ready = ReadyCondition(self.reader, self.shown).read(
                self.inputs[control.ready], self.asked, f"condition-{number}", self.run, self.progress
            )
            # Only the inpaint processor's transparency is a hole; that of a ready-made map says nothing.
            opaque = Sized(ready, self.source.height, self.source.width, opaque=True)
            return ClipMaps(opaque, [self._sized(each) for each in references])
        asked, processor, folder = self.asked, control.processor, self.run.work(f"condition-{number}")
        total = processor.passes * (1 if control.of_style else len(asked))
        with self.progress.stage(f"condition {number}", total) as stage:
            if control.of_style:
                style = read_image(self.inputs["style_image"])[0]
                picture = scaled(style, asked.height, asked.width, Resampling.BICUBIC)
                found = processor.process(Stills([picture]), folder, stage.advance)
            else:
                found = cached_condition(processor, asked, ContentCache.of_user(), stage.advance)
        of_references = [
            processor.process(each, folder / f"reference-{k}", lambda count: None) for k, each in enumerate(references)
        ]
        return ClipMaps(self._sized(found), [self._sized(each) for each in of_references])

    def _sized(self, frames: Frames) -> Frames:
        return Sized(frames, self.source.height, self.source.width)


def painted(inputs: Mapping[str, Path]) -> dict[int, Path]:
    """The user's own frames, by their number in the clip."""
    found = ((PAINTED_KEY.fullmatch(key), path) for key, path in inputs.items())
    return {int(match[1]): path for match, path in found if match}
