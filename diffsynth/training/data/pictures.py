"""Single frames: pictures on disk, or those of clips, as clips of one frame."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from diffsynth.config import ConfigModel, ExistingPath
from diffsynth.training.data import DatasetConfig
from diffsynth.training.data.example import Chance, ClipSet, Drawn, Size
from diffsynth.training.data.files import FileClips, Picture, picture_files
from diffsynth.training.data.window import View, Window


class PicturesConfig(ConfigModel):
    """Pictures, as the task `capture_frames` leaves them."""

    type: Literal["pictures"] = "pictures"
    path: ExistingPath
    """The folder of a run of `capture_frames`, any folder of pictures, or a text file that lists some."""
    size: Size = (256, 256)
    """Side of the frames in pixels, or `[height, width]`."""
    frame_channels: Literal[1, 3] = 3
    """1: grey frames; 3: colour."""
    centre_square_crop: bool = True
    """Cut frames to the aspect of `size` before they are scaled; otherwise they are stretched to it."""
    random_crop: bool = False
    """Cut anywhere, and not from the centre."""
    flip: bool = False
    """Mirror half of them."""

    def build(self) -> FileClips:
        cut: Literal["centre", "random", "stretch"] = "random" if self.random_crop else "centre"
        view = View(*self.size, self.frame_channels, cut if self.centre_square_crop else "stretch", self.flip)
        return FileClips((), Window(1), view, pictures=tuple(Picture(each.path) for each in picture_files(self.path)))


FrameSource = Annotated[DatasetConfig | PicturesConfig, Field(discriminator="type")]
"""Where single frames come from."""


@dataclass(frozen=True)
class Frames:
    """As `ClipSet`: one frame a clip, without class or text, from anywhere in each clip of another set."""

    clips: ClipSet

    @property
    def classes(self) -> tuple[str, ...]:
        return ()

    @property
    def remarks(self) -> tuple[str, ...]:
        return self.clips.remarks

    @property
    def fingerprint(self) -> str:
        return self.clips.fingerprint

    def __len__(self) -> int:
        return self.clips.picture_count

    def clip(self, number: int, chance: Chance) -> Drawn:
        return Drawn(self.clips.image(number, chance).pixels)

    @property
    def picture_count(self) -> int:
        return self.clips.picture_count

    def image(self, number: int, chance: Chance) -> Drawn:
        return self.clip(number, chance)
