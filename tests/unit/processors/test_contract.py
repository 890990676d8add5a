"""What holds for every processor there is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import PIL.Image
import pytest
from annotators import Annotators, needs_annotators
from moving import moving, nothing, stored
from pydantic import TypeAdapter

from diffsynth.cache import frames_digest
from diffsynth.frames import FrameStore, Image
from diffsynth.processors import ALIASES, PROCESSOR_NAMES, ProcessorConfig, canonical_name
from diffsynth.processors.base import Processor, Stills
from diffsynth.runtime import Runtime

CPU = Runtime("cpu", threads=1)

WEIGHT_FREE = {
    "canny": {},
    "classic_softedge": {},
    "classic_depth": {},
    "shuffle": {"seed": 3, "grain": 32},
    "tile": {},
    "identity": {},
    "inpaint": {},
    "video_classic_softedge": {"window": 2},
    "video_classic_depth": {"window": 2},
}
NETWORKS: dict[str, Callable[[Annotators], str]] = {
    "softedge": lambda weights: weights.with_file("ControlNetHED.pth"),
    "pidinet": lambda weights: weights.with_file("table5_pidinet.pth"),
    "lineart": lambda weights: weights.with_file("sk_model.pth"),
    "lineart_anime": lambda weights: weights.with_file("netG.pth"),
    "scribble": lambda weights: weights.with_file("ControlNetHED.pth"),
    "mlsd": lambda weights: weights.with_file("mlsd_large_512_fp32.pth"),
    "normal": lambda weights: weights.with_file("scannet.pt"),
    "depth": lambda weights: weights.depth(),
    "segmentation": lambda weights: weights.segmentation(),
    "openpose": lambda weights: weights.openpose(),
    "dwpose": lambda weights: weights.dwpose(),
    "video_softedge": lambda weights: weights.with_file("ControlNetHED.pth"),
    "video_pidinet": lambda weights: weights.with_file("table5_pidinet.pth"),
    "video_lineart": lambda weights: weights.with_file("sk_model.pth"),
    "video_normal": lambda weights: weights.with_file("scannet.pt"),
    "video_depth": lambda weights: weights.depth(),
    "video_openpose": lambda weights: weights.openpose(),
}
SLOW = {"lineart_anime", "normal", "video_normal", "openpose", "video_openpose"}
INDEPENDENT_OF_TORCHS_EXTRAS = {"depth", "video_depth"}

EXPENSIVE = {"openpose", "video_openpose"}
"""They look at any frame at a resolution of their own: two frames must do. How they are continued is tested elsewhere,
with a detector that costs nothing."""

ALL = [
    *WEIGHT_FREE,
    *(
        pytest.param(
            name,
            marks=[
                *([] if name in INDEPENDENT_OF_TORCHS_EXTRAS else [needs_annotators]),
                *([pytest.mark.slow] if name in SLOW else []),
            ],
        )
        for name in NETWORKS
    ),
]

CHEAP = [each for each in ALL if isinstance(each, str) or each.values[0] not in EXPENSIVE]
BATCHED = [each for each in CHEAP if not isinstance(each, str) and each.values[0] != "dwpose"]


def settings(name: str, **keys: Any) -> Any:
    return TypeAdapter(ProcessorConfig).validate_python({"type": canonical_name(name), **keys})


@pytest.fixture
def build(annotators: Annotators, tmp_path: Path) -> Callable[[str], Processor]:
    def make(name: str, **keys: Any) -> Processor:
        if name == "inpaint":
            mask = np.zeros((64, 128), np.uint8)
            mask[16:48, 32:64] = 255
            PIL.Image.fromarray(mask).save(tmp_path / "mask.png")
            keys["mask"] = str(tmp_path / "mask.png")
        keys |= WEIGHT_FREE[name] if name in WEIGHT_FREE else {"model_path": NETWORKS[name](annotators)}
        processor: Processor = settings(name, **keys).build(CPU)
        return processor

    return make


def test_every_processor_is_covered() -> None:
    tested = {canonical_name(name) for name in (*WEIGHT_FREE, *NETWORKS)}
    assert tested == set(PROCESSOR_NAMES)
    members = get_args(get_args(ProcessorConfig)[0])
    assert [member.model_fields["type"].default for member in members] == list(PROCESSOR_NAMES)
    assert sorted(ALIASES.values()) == sorted(PROCESSOR_NAMES)


@pytest.mark.parametrize("name", ALL)
def test_a_map_for_each_frame(name: str, build: Callable[..., Processor], tmp_path: Path) -> None:
    count = 2 if name in EXPENSIVE else 5
    frames = small(name, count)
    clip = stored(tmp_path / "clip", frames)
    heard: list[int] = []
    processor = build(name)
    maps = processor.process(clip, tmp_path / "out", heard.append)
    assert (len(maps), maps.height, maps.width) == (count, *frames[0].shape[:2])
    assert all(found.shape == frames[0].shape and found.dtype == np.uint8 for found in maps)
    assert sum(heard) == processor.passes * count
    assert all(np.array_equal(kept, frame) for kept, frame in zip(clip, frames, strict=True)), "the input was changed"
    left = sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert left == ["maps"], "what was needed on the way is still there"
    again = build(name).process(clip, tmp_path / "again", nothing)
    assert frames_digest(again) == frames_digest(maps)


@pytest.mark.parametrize("name", [*WEIGHT_FREE, "depth"])
def test_pictures_in_memory_are_read_like_a_clip(name: str, build: Callable[..., Processor], tmp_path: Path) -> None:
    frames = small(name, 2)
    before = [frame.copy() for frame in frames]
    maps = build(name).process(Stills(frames), tmp_path / "out", nothing)
    expected = build(name).process(stored(tmp_path / "clip", before), tmp_path / "expected", nothing)
    assert frames_digest(maps) == frames_digest(expected)
    assert all(np.array_equal(frame, kept) for frame, kept in zip(frames, before, strict=True))


@pytest.mark.parametrize("name", CHEAP)
def test_a_single_frame_and_a_still_clip(name: str, build: Callable[..., Processor], tmp_path: Path) -> None:
    [frame] = small(name, 1)
    one = build(name).process(Stills([frame]), tmp_path / "one", nothing)
    still = build(name).process(Stills([frame] * 3), tmp_path / "still", nothing)
    # A network's last bit may hang on the size of its batch, and then a rounding: one level.
    assert all(np.abs(found.astype(int) - one[0]).max() <= (name in NETWORKS) for found in still)


@pytest.mark.parametrize("name", CHEAP)
def test_stopped_and_continued_is_the_same(name: str, build: Callable[..., Processor], tmp_path: Path) -> None:
    clip = stored(tmp_path / "clip", small(name, 5))
    whole = build(name, **batch(name)).process(clip, tmp_path / "whole", nothing)
    for stop in (2, 7, 12) if name in WEIGHT_FREE else (3, 8):
        allowed = stop

        def stopping(count: int) -> None:
            nonlocal allowed
            allowed -= count
            if allowed < 0:
                raise KeyboardInterrupt

        folder = tmp_path / f"stopped-{stop}"
        try:
            found: FrameStore = build(name, **batch(name)).process(clip, folder, stopping)
        except KeyboardInterrupt:
            found = build(name, **batch(name)).process(clip, folder, nothing)
        assert frames_digest(found) == frames_digest(whole)


def small(name: str, count: int) -> list[Image]:
    """A clip no larger than need be: networks see sides of at least 64."""
    return moving(count, 64, 64 if name in NETWORKS else 128)


def batch(name: str) -> dict[str, int]:
    return {"batch_size": 2} if name in NETWORKS and name != "dwpose" else {}


@pytest.mark.parametrize("name", BATCHED)
def test_batches_don_t_decide(name: str, build: Callable[..., Processor], tmp_path: Path) -> None:
    clip = stored(tmp_path / "clip", small(name, 4))
    alone = build(name, batch_size=1).process(clip, tmp_path / "alone", nothing)
    together = build(name, batch_size=3).process(clip, tmp_path / "together", nothing)
    for one, other in zip(alone, together, strict=True):
        # Sums in another order: the last bit of a float, which is a level of 255 where it decides a rounding. Where it
        # decides between classes or draws a line it shows in full, and that must be rare.
        assert (np.abs(one.astype(int) - other) > 1).mean() < 0.005
