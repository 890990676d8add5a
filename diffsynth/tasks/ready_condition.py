"""A condition that comes ready-made: a clip beside the input, such as a depth pass, or one picture for all frames."""

from dataclasses import dataclass, replace
from pathlib import Path

from diffsynth.errors import ConfigError
from diffsynth.frames import FrameStore
from diffsynth.progress import Progress
from diffsynth.run_dir import RunFolder
from diffsynth.tasks.clip import ClipReader
from diffsynth.tasks.previews import preview_store
from diffsynth.video.options import Selection


@dataclass(frozen=True)
class ReadyCondition:
    """Reads what lies beside the frames: cut as the clip is, at the clip's size."""

    reader: ClipReader
    preview: int | None
    """Where only so many frames are rendered, so many are read, from the same places."""

    def read(self, path: Path, frames: FrameStore, name: str, run: RunFolder, progress: Progress) -> FrameStore:
        """One picture for each of `frames`, or a single one."""
        reader = replace(self.reader, geometry=replace(self.reader.geometry, height=frames.height, width=frames.width))
        clip = reader.open(path)
        single = clip.info.frame_count == 1 and clip.info.frame_count_is_exact
        if single:
            clip = replace(reader, selection=Selection()).open(path)
        if self.preview is None or single:
            store = reader.store(clip, run, progress, name)
        else:
            store = preview_store(clip, self.preview, run.work(name))
        if len(store) not in (1, len(frames)):
            problem = (
                f"{path}: this condition has {len(store)} pictures where the clip has {len(frames)} frames, cut in the "
                'same way ("start", "end", "frame_interval"). It must show the same frames, or be one picture.'
            )
            raise ConfigError([problem])
        return store
