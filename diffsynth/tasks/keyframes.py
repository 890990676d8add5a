"""Which frames of a clip are painted: key frames by index, by the name of a frame's file, or as a folder."""

from collections.abc import Mapping
from pathlib import Path

from diffsynth.errors import MediaError
from diffsynth.images import list_images
from diffsynth.tasks.stills import NUMBER


def keyframes(given: Path | Mapping[str, Path], names: Mapping[str, int | None], count: int) -> dict[int, Path]:
    """The picture of each key frame by the number of its frame.

    A picture is for the guide's frame of the same file name, where the guide is made of images (`names`: the frame that
    each became, None for those left out); else for the frame whose number, counted from 0, is the last one in its name.
    """
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
        raise MediaError("There is no key frame. Give at least one.")
    return dict(sorted(found.items()))


def _number(stem: str, names: Mapping[str, int | None], shown: str) -> int:
    if stem in names:
        number = names[stem]
        if number is None:
            raise MediaError(
                f"{shown}: is a key frame for a frame of the guide that isn't used. Take it away, or change what"
                ' "start", "end", "frame_interval" and "frame_maximum_count" leave out.'
            )
        return number
    match = NUMBER.search(stem)
    if match is None:
        raise MediaError(
            f"{shown}: it can't be told which frame this key frame is for. Name it like the frame's file, or by the "
            "frame's number, counted from 0."
        )
    return int(match[1])
