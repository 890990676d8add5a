"""From a clip to a store on disk, and from a store to numbered pictures; both continue what was begun."""

from collections.abc import Callable
from pathlib import Path

from diffsynth.errors import MediaError
from diffsynth.frames import FrameStore, FrameWriter, is_complete
from diffsynth.images import write_png
from diffsynth.video.clip import Clip


def ingest(clip: Clip, path: Path | str, progress: Callable[[int], None] | None = None) -> FrameStore:
    """Read a clip's frames with alpha and time stamps into the store at `path`. A finished store is returned as it
    is; an unfinished one is continued from its last whole frame."""
    if is_complete(path):
        return FrameStore(path)
    with FrameWriter(path, clip.height, clip.width, alpha=clip.has_alpha, time_base=clip.time_base) as writer:
        for frame in clip.frames(writer.count, after=writer.last_tick):
            writer.append(frame.rgb, frame.alpha, tick=frame.tick, until=frame.until)
            if progress is not None:
                progress(writer.count)
        if not writer.count:
            raise MediaError(f"{clip.info.path}: the selection ({clip.selection}) holds no frame.")
        return writer.finish()


def write_frames(
    store: FrameStore, folder: Path | str, progress: Callable[[int], None] | None = None, *, first: int = 0
) -> int:
    """Write a store as `00000.png`, `00001.png`, … into `folder`; a picture that is there already is left alone.

    Pictures appear whole or not at all, so what is there is right as long as it came from the same store; the caller
    empties the folder when it didn't. Returns how many were written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    digits = max(5, len(str(first + len(store) - 1)))
    written = 0
    for position in range(len(store)):
        file = folder / f"{first + position:0{digits}}.png"
        if not file.exists():
            write_png(file, store[position], store.alpha(position) if store.has_alpha else None)
            written += 1
        if progress is not None:
            progress(position + 1)
    return written
