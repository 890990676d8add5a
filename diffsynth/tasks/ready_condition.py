"""What comes ready-made beside the input: a clip, such as a depth pass or masks, or one picture for all frames."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from diffsynth.errors import ConfigError
from diffsynth.frames import FrameStore, Image
from diffsynth.progress import Progress
from diffsynth.run_dir import RunFolder
from diffsynth.tasks.clip import ClipReader
from diffsynth.tasks.shown import Shown, shown_store
from diffsynth.video.clip import Clip
from diffsynth.video.options import Selection


@dataclass(frozen=True)
class ReadyCondition:
    """Reads what lies beside the frames: cut as the clip is, at the clip's size."""

    reader: ClipReader
    shown: Shown | None = None
    """Where only some frames are rendered, only those are read."""

    def read(self, path: Path, frames: FrameStore, name: str, run: RunFolder, progress: Progress) -> FrameStore:
        """One picture for each of `frames`, or a single one."""
        reader = self._sized(frames.height, frames.width)
        clip, single = _opened(reader, path)
        found, wanted = clip.expected_count, len(frames)
        if self.shown is None or single:
            store = reader.store(clip, run, progress, name)
            found, wanted = len(store), 1 if single else len(frames)
        else:
            store = shown_store(clip, self.shown, run.work(name))
            exact = clip.info.frame_count_is_exact and len(store) == len(frames)
            found, wanted = (found, self.shown.count) if exact else (len(store), len(frames))
        if found != wanted:
            problem = (
                f"{path}: has {found} pictures where the clip has {wanted} frames, cut in the "
                'same way ("start", "end", "frame_interval"). It must show the same frames, or be one picture.'
            )
            raise ConfigError([problem])
        return store

    def beside(self, path: Path, height: int, width: int, positions: Sequence[int]) -> list[Image]:
        """The pictures beside some frames of the clip."""
        clip, single = _opened(self._sized(height, width), path)
        found = [next(clip.frames(0 if single else position), None) for position in positions]
        if any(each is None for each in found):
            raise ConfigError([f"{path}: is shorter than the clip. It must show the same frames."])
        return [each.rgb for each in found if each is not None]

    def _sized(self, height: int, width: int) -> ClipReader:
        return replace(self.reader, geometry=replace(self.reader.geometry, height=height, width=width))


def _opened(reader: ClipReader, path: Path) -> tuple[Clip, bool]:
    """And whether it is a single picture, which isn't cut."""
    clip = reader.open(path)
    single = clip.info.frame_count == 1 and clip.info.frame_count_is_exact
    return (replace(reader, selection=Selection()).open(path) if single else clip), single
