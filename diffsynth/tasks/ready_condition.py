"""A condition that comes ready-made: a clip beside the input, such as a depth pass, or one picture for all frames."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from diffsynth.errors import ConfigError
from diffsynth.frames import FrameStore, Image
from diffsynth.progress import Progress
from diffsynth.run_dir import RunFolder
from diffsynth.tasks.clip import ClipReader
from diffsynth.tasks.previews import preview_store
from diffsynth.video.clip import Clip
from diffsynth.video.options import Selection


@dataclass(frozen=True)
class ReadyCondition:
    """Reads what lies beside the frames: cut as the clip is, at the clip's size."""

    reader: ClipReader
    preview: int | None
    """Where only so many frames are rendered, so many are read, from the same places."""

    def read(self, path: Path, frames: FrameStore, name: str, run: RunFolder, progress: Progress) -> FrameStore:
        """One picture for each of `frames`, or a single one."""
        reader = self._sized(frames.height, frames.width)
        clip, single = _opened(reader, path)
        if self.preview is None or single:
            store = reader.store(clip, run, progress, name)
        else:
            store = preview_store(clip, self.preview, run.work(name))
        if len(store) != (1 if single else len(frames)):
            problem = (
                f"{path}: this condition has {len(store)} pictures where the clip has {len(frames)} frames, cut in the "
                'same way ("start", "end", "frame_interval"). It must show the same frames, or be one picture.'
            )
            raise ConfigError([problem])
        return store

    def shown(self, path: Path, height: int, width: int, positions: Sequence[int]) -> list[Image]:
        """The pictures beside some frames of the clip."""
        clip, single = _opened(self._sized(height, width), path)
        found = [next(clip.frames(0 if single else position), None) for position in positions]
        if any(each is None for each in found):
            raise ConfigError([f"{path}: this condition is shorter than the clip. It must show the same frames."])
        return [each.rgb for each in found if each is not None]

    def _sized(self, height: int, width: int) -> ClipReader:
        return replace(self.reader, geometry=replace(self.reader.geometry, height=height, width=width))


def _opened(reader: ClipReader, path: Path) -> tuple[Clip, bool]:
    """And whether it is a single picture, which isn't cut."""
    clip = reader.open(path)
    single = clip.info.frame_count == 1 and clip.info.frame_count_is_exact
    return (replace(reader, selection=Selection()).open(path) if single else clip), single
