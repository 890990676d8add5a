"""A quick look: a few frames spread over a clip, rendered by themselves and shown beside their source."""

from pathlib import Path

from diffsynth.attention.patterns import key_frame
from diffsynth.contact_sheet import Column, sheet
from diffsynth.errors import MediaError
from diffsynth.frames import FrameStore, FrameWriter, is_complete
from diffsynth.images import write_png
from diffsynth.video.clip import Clip
from diffsynth.video.ingest import write_frames

SHEET = "preview.png"


def preview_store(clip: Clip, count: int, path: Path) -> FrameStore:
    """`count` frames from evenly over the clip. Where the clip's length is an estimate, frames that aren't there are
    left out."""
    if is_complete(path):
        return FrameStore(path)
    frames = clip.expected_count
    if frames is None:
        raise MediaError(f"{clip.info.path}: doesn't say how long it is; set frame_maximum_count for a preview.")
    positions = sorted({key_frame(number, count, frames) for number in range(count)})
    with FrameWriter(path, clip.height, clip.width, alpha=clip.has_alpha, time_base=clip.time_base) as writer:
        for position in positions[writer.count :]:
            frame = next(clip.frames(position), None)
            if frame is not None:
                writer.append(frame.rgb, frame.alpha, tick=frame.tick, until=frame.until)
        return writer.finish()


def preview_sheet(source: FrameStore, rendered: FrameStore, folder: Path) -> list[Path]:
    """The rendered frames as pictures, and all of them beside their source on one sheet."""
    write_frames(rendered, folder / "frames")
    write_png(folder / SHEET, sheet([Column("frame", source), Column("stylized", rendered)]))
    return [folder / SHEET, folder / "frames"]
