"""Data sets of files: videos and folders of frames in the layouts of the published sets."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from diffsynth.config import ExistingPath
from diffsynth.errors import MediaError
from diffsynth.images import is_image_name, list_images
from diffsynth.models.weights import some
from diffsynth.training.data.example import Chance, ClipSet, ClipSetConfig, Drawn, Trouble, Unusable
from diffsynth.training.data.listing import Listed, absent_names, listed
from diffsynth.training.data.window import ShortPolicy, View, Window, read_window


class FilesConfig(ClipSetConfig):
    """What all sets of files share."""

    type: str
    path: ExistingPath
    """The folder of the set."""
    interval: Annotated[int, Field(ge=1, le=4096)] = 3
    """Every n-th frame; a window of `frames` of them lies anywhere in the clip."""
    centre_square_crop: bool = True
    """Cut frames to the aspect of `size` before they are scaled; otherwise they are stretched to it."""
    random_crop: bool = False
    """Cut anywhere, and not from the centre."""
    flip: bool = False
    """Mirror half of the clips."""
    short: ShortPolicy = "skip"
    """A clip with too few frames is left aside (`skip`), begun again (`loop`), held at its last frame (`hold`), or
    goes on in black (`black`)."""
    from_start: bool = False
    """Take the first frames of each clip, and not some from anywhere in it."""
    split: Literal["train", "test", "val"] | None = None
    """The part of the set, which lies in a folder of that name, or one whose name ends in `_` and it."""
    filter: Annotated[tuple[ExistingPath, ...], Field(strict=False)] = ()
    """Text files that list the clips to use, one a line, as UCF101's `trainlist01.txt` does; `*` stands for
    anything in a name (`*_PushUps*`)."""
    captions: bool = False
    """Each clip, and each picture of `image_list`, has a text beside it: `clip.mp4` and `clip.txt`."""
    image_list: ExistingPath | None = None
    """Pictures for `images`: a folder of them, or a text file that lists them (`path` or `path class`). Left out,
    frames of other clips."""

    def build(self) -> "FileClips":
        cut: Literal["centre", "random", "stretch"] = "random" if self.random_crop else "centre"
        view = View(*self.size, self.frame_channels, cut if self.centre_square_crop else "stretch", self.flip)
        clips = tuple(listed(self.path, self.type, self.split, self.filter))
        absent = tuple(absent_names(clips, self.filter))
        window = Window(self.frames, self.interval, self.short, self.from_start)
        pictures = tuple(picture_files(self.image_list)) if self.image_list is not None else ()
        return FileClips(clips, window, view, self.captions, pictures, absent)


class FolderConfig(FilesConfig):
    """Videos and folders of frames, anywhere below a folder; no classes."""

    type: Literal["folder"] = "folder"


class ClassFoldersConfig(FilesConfig):
    """A folder for each class, with the clips of it inside."""

    type: Literal["class_folders"] = "class_folders"


class Ucf101Config(FilesConfig):
    """UCF101: the class stands in each clip's name (`v_ApplyEyeMakeup_g01_c01.avi`)."""

    type: Literal["ucf101"] = "ucf101"


class FaceForensicsConfig(FilesConfig):
    """FaceForensics: cut-out faces as videos, in any folders; no classes."""

    type: Literal["faceforensics"] = "faceforensics"


class SkyTimelapseConfig(FilesConfig):
    """SkyTimelapse: folders of frames below `sky_train` and `sky_test`; no classes."""

    type: Literal["sky_timelapse"] = "sky_timelapse"


class TaichiConfig(FilesConfig):
    """Taichi-HD: folders of frames below `train` and `test`; no classes."""

    type: Literal["taichi"] = "taichi"


@dataclass(frozen=True)
class Picture:
    path: Path
    kind: str | None = None


@dataclass(frozen=True)
class FileClips:
    """As `ClipSet`."""

    listing: tuple[Listed, ...]
    window: Window
    view: View
    captions: bool = False
    pictures: tuple[Picture, ...] = ()
    absent: tuple[str, ...] = ()
    """Clips that a filter names and that aren't there."""

    @property
    def remarks(self) -> tuple[str, ...]:
        if not self.absent:
            return ()
        return (f'"filter" names {len(self.absent)} clips that are not there: {some(list(self.absent))}.',)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        return tuple(sorted({each.kind for each in self.listing if each.kind is not None}))

    @cached_property
    def fingerprint(self) -> str:
        """Of the names and sizes, and not of the bytes: sets are too large to be read for it."""
        digest = hashlib.sha256(repr((self.window, self.view, self.captions)).encode())
        for each in self.listing:
            digest.update(f"{each.name}\0{_size_of(each.path)}\0".encode())
        for picture in self.pictures:
            digest.update(f"{picture.path.name}\0{picture.kind}\0{picture.path.stat().st_size}\0".encode())
        return digest.hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.listing)

    def clip(self, number: int, chance: Chance) -> Drawn:
        each = self.listing[number]
        return Drawn(
            read_window(each.path, self.window, self.view, chance), self.label_of(number), self._caption(each.path)
        )

    def label_of(self, number: int) -> int | None:
        return self._label(self.listing[number].kind)

    def caption_if_any(self, number: int) -> str | None:
        """A clip's caption; None where captions are not read, or this one can't be."""
        try:
            return self._caption(self.listing[number].path)
        except Unusable:
            return None

    @property
    def picture_count(self) -> int:
        return len(self.pictures) or len(self.listing)

    def image(self, number: int, chance: Chance) -> Drawn:
        one = Window(1)
        if not self.pictures:
            each = self.listing[number]
            return Drawn(
                read_window(each.path, one, self.view, chance), self._label(each.kind), self._caption(each.path)
            )
        picture = self.pictures[number]
        caption = self._caption(picture.path)
        return Drawn(read_window(picture.path, one, self.view, chance), self._label(picture.kind), caption)

    def _label(self, kind: str | None) -> int | None:
        return self.classes.index(kind) if kind in self.classes else None

    def unclassed(self) -> Picture | None:
        """A picture for joint training that has none of the clips' classes."""
        return next((each for each in self.pictures if each.kind not in self.classes), None)

    def _caption(self, shown: Path) -> str | None:
        if not self.captions:
            return None
        path = shown.with_suffix(".txt") if shown.is_file() else shown.with_name(f"{shown.name}.txt")
        try:
            return " ".join(path.read_text(encoding="utf-8").split())
        except (OSError, UnicodeDecodeError) as problem:
            raise Unusable(Trouble(shown, f"its caption {path.name} can't be read ({problem})")) from None


def known_classes(clips: ClipSet) -> str:
    names = clips.classes
    return f"Classes of the clips: {', '.join(names[:12])}{', …' if len(names) > 12 else ''}."


def _size_of(path: Path) -> int:
    """Bytes of a file, images of a folder; -1 for a link that leads nowhere, which is told when it is read."""
    if path.is_dir():
        return len(list(path.iterdir()))
    return path.stat().st_size if path.is_file() else -1


def picture_files(source: Path) -> Iterator[Picture]:
    if source.is_dir():
        found = [path for path in sorted(source.rglob("*")) if path.is_file() and is_image_name(path)]
        yield from (Picture(path, path.parent.name if path.parent != source else None) for path in found)
        if not found:
            raise MediaError(f"{source}: holds no picture. Of clips, the task `capture_frames` makes some.")
        return
    if is_image_name(source):
        yield Picture(list_images(source)[0])
        return
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise MediaError(
            f"{source}: is no list of pictures: one path a line, and a class behind it if it has one."
        ) from None
    empty = True
    for number, line in enumerate(filter(None, map(str.strip, lines)), 1):
        name, _, kind = line.rpartition(" ") if " " in line and not (source.parent / line).exists() else (line, "", "")
        path = source.parent / name
        if not path.is_file():
            raise MediaError(f"{source}, line {number}: {path} isn't there. Paths start from the list's folder.")
        yield Picture(path, kind or None)
        empty = False
    if empty:
        raise MediaError(f"{source}: lists no picture.")
