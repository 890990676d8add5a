"""Which frames of a clip are painted: key frames by index, by the name of a frame's file, or as a folder."""

from collections.abc import Mapping
from pathlib import Path

from diffsynth.errors import MediaError
from diffsynth.images import list_images
from diffsynth.tasks.stills import NUMBER, is_stills


def keyframes(given: Path | Mapping[str, Path], guide: Path, count: int) -> dict[int, Path]:
    """The picture of each key frame by the number of its frame.

    In a folder, a picture is for the guide's frame of the same file name, where the guide is made of images; else for
    the frame whose number, counted from 0, is the last one in the picture's name.
    """
    names = {file.stem: number for number, file in enumerate(list_images(guide))} if is_stills(guide) else {}
    if isinstance(given, Path):
        files = list_images(given)
        pictures = {str(file): file for file in files}
        numbers = {name: _number(file.stem, names, name) for name, file in pictures.items()}
    else:
        pictures = dict(given)
        numbers = {name: _number(Path(name).stem if name not in names else name, names, name) for name in pictures}
    found: dict[int, Path] = {}
    for name, number in numbers.items():
        if number >= count:
            raise MediaError(
                f"{name}: is a key frame for frame {number}, but the clip has frames 0 to {count - 1}."
                " Correct its number."
            )
        if number in found:
            raise MediaError(f"{name}: is a second key frame for frame {number}, beside {found[number]}. Keep one.")
        found[number] = pictures[name]
    if not found:
        raise MediaError(f"{guide}: there is no key frame. Give at least one.")
    return dict(sorted(found.items()))


def _number(stem: str, names: Mapping[str, int], shown: str) -> int:
    if stem in names:
        return names[stem]
    match = NUMBER.search(stem)
    if match is None:
        raise MediaError(
            f"{shown}: it can't be told which frame this key frame is for. Name it like the frame's file, or by the "
            "frame's number, counted from 0."
        )
    return int(match[1])
