"""A quick look: a few frames spread over a clip, rendered by themselves and shown beside their source."""

from pathlib import Path

from diffsynth.contact_sheet import Column, sheet
from diffsynth.frames import FrameStore
from diffsynth.images import write_png
from diffsynth.video.ingest import write_frames

SHEET = "preview.png"


def preview_sheet(source: FrameStore, rendered: FrameStore, folder: Path) -> list[Path]:
    """The rendered frames as pictures, and all of them beside their source on one sheet."""
    write_frames(rendered, folder / "frames")
    write_png(folder / SHEET, sheet([Column("frame", source), Column("stylized", rendered)]))
    return [folder / SHEET, folder / "frames"]
