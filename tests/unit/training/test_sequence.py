"""The sequence of training examples: drawn sets, sets of files, windows, short and corrupt clips."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media import Media
from PIL import Image
from pydantic import ValidationError

from diffsynth.errors import MediaError
from diffsynth.metrics.digit_templates import digit_of
from diffsynth.runtime import numpy_generator
from diffsynth.training.data.example import Unusable
from diffsynth.training.data.files import ClassFoldersConfig, FolderConfig, Ucf101Config
from diffsynth.training.data.loading import batches
from diffsynth.training.data.moving_digits import MovingDigits
from diffsynth.training.data.moving_shapes import SHAPES, MovingShapes, MovingShapesConfig
from diffsynth.training.data.stream import Stream
from diffsynth.training.data.strokes import bounced
from diffsynth.training.data.window import View, Window, positions, read_window


def chance(number: int = 0) -> np.random.Generator:
    return numpy_generator(7, number)


def frames(folder: Path, count: int, size: tuple[int, int] = (16, 12)) -> Path:
    """A clip whose frame n is of grey 10 n."""
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", size, (10 * number,) * 3).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("size", [16, 32])
def test_drawn_digits_are_told_apart_by_their_drawings(size: int) -> None:
    """The oracle of samples must know the digits themselves: all of them, in other looks than the templates."""
    clips = MovingDigits(size, size, 4, set_seed=3, jitter=0.5)
    seen = [digit_of(clips.clip(number, chance()).pixels) for number in range(60)]
    assert seen == [number % 10 for number in range(60)]


def test_noise_and_darkness_have_no_digit_that_is_right_by_chance() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 4, 16, 16, 1), np.uint8)
    right = np.mean([digit_of(each) == number % 10 for number, each in enumerate(noise)])
    assert right < 0.3


def test_a_digit_moves_as_it_says() -> None:
    """Centres of mass against the path, within the half pixel that soft edges cost."""
    clips = MovingDigits(32, 32, 8)
    for number in range(20):
        look, pixels = clips.look(number), clips.clip(number, chance()).pixels[..., 0].astype(float)
        y, x = np.mgrid[:32, :32] + 0.5
        mass = np.stack([(pixels * each).sum((1, 2)) / pixels.sum((1, 2)) for each in (x, y)], -1)
        np.testing.assert_allclose(np.diff(mass, axis=0), np.diff(look.centres, axis=0), atol=0.5)


@given(st.floats(-3, 3), st.floats(-2, 2), st.floats(0, 3), st.integers(1, 30))
def test_what_bounces_stays_in_its_room_and_keeps_its_speed(
    start: float, speed: float, room: float, count: int
) -> None:
    start = min(max(start, -room), room)
    path = bounced(start, speed, room, count)
    assert np.all(np.abs(path) <= room + 1e-9)
    assert np.all(np.abs(np.diff(path)) <= abs(speed) + 1e-9)


def test_shapes_have_their_class_their_colour_and_their_motion() -> None:
    clips = MovingShapes(32, 32, 8)
    for number in range(20):
        figure, drawn = clips.figure(number), clips.clip(number, chance())
        assert drawn.label == number % len(SHAPES)
        assert drawn.caption is not None
        assert figure.colour in drawn.caption
        assert SHAPES[figure.shape] in drawn.caption
        brightest = drawn.pixels.reshape(-1, 3).max(0)
        assert brightest.argmax() == {"red": 0, "green": 1, "blue": 2, "yellow": 0}[figure.colour]
        assert np.abs(np.diff(drawn.pixels.astype(int), axis=0)).max() > 0


def test_classes_of_moving_shapes_may_tell_the_colour_too() -> None:
    clips = MovingShapes(16, 16, 2, told="shape_and_colour")
    assert len(set(clips.classes)) == 20
    for number in range(40):
        for drawn in (clips.clip(number, chance()), clips.image(number, chance())):
            assert drawn.label is not None
            assert drawn.caption is not None
            assert clips.classes[drawn.label] in drawn.caption


def test_grey_shapes_have_no_colour_to_tell() -> None:
    with pytest.raises(ValidationError, match='"frame_channels": 3'):
        MovingShapesConfig(frame_channels=1, label="shape_and_colour")


@given(st.integers(1, 200), st.integers(1, 20), st.integers(1, 8), st.floats(0, 1, exclude_max=True))
def test_windows_lie_in_their_clips(count: int, length: int, interval: int, place: float) -> None:
    for short in ("skip", "loop", "hold"):
        found = positions(Window(length, interval, short), count, place)  # type: ignore[arg-type]
        long_enough = count >= (length - 1) * interval + 1
        assert (found is None) == (short == "skip" and not long_enough)
        if found is not None:
            assert len(found) == length
            assert all(0 <= each < count for each in found)
        if found is not None and long_enough:
            assert set(np.diff(found)) <= {interval}


def test_every_place_of_a_window_is_drawn() -> None:
    places = Counter(positions(Window(4, 2), 10, place)[0] for place in np.linspace(0, 0.999, 400))  # type: ignore[index]
    assert set(places) == {0, 1, 2, 3}
    assert min(places.values()) >= 99


def test_short_clips_are_begun_again_or_held(tmp_path: Path) -> None:
    clip = frames(tmp_path / "clip", 3)
    view = View(12, 16, 1)
    looped = read_window(clip, Window(5, 1, "loop"), view, chance())[:, 0, 0, 0].astype(int) // 10
    assert [(b - a) % 3 for a, b in pairwise(looped)] == [1] * 4
    held = read_window(clip, Window(5, 1, "hold"), view, chance())[:, 0, 0, 0] // 10
    assert held.tolist() == [0, 1, 2, 2, 2]
    with pytest.raises(Unusable, match="has 3 frames; 5 are needed"):
        read_window(clip, Window(5, 1, "skip"), view, chance())


@pytest.mark.parametrize("name", ["h264-mp4", "mpeg4-avi", "gif"])
def test_a_window_of_a_video_is_what_the_video_reader_gives(media: Media, name: str) -> None:
    from diffsynth.video.clip import open_clip

    path = media.codec(name)
    whole = [frame.rgb for frame in open_clip(path).frames()]
    for number in range(4):
        got = read_window(path, Window(3, 2), View(80, 96), chance(number))
        starts = [k for k in range(len(whole) - 4) if np.array_equal(got[0], whole[k])]
        assert any(all(np.array_equal(got[i], whole[k + 2 * i]) for i in range(3)) for k in starts)


def test_cuts_lie_in_the_centre_or_anywhere_and_flips_mirror(tmp_path: Path) -> None:
    folder = tmp_path / "ramp"
    folder.mkdir()
    ramp = np.repeat(np.arange(0, 240, 6, dtype=np.uint8)[None], 20, 0)  # 40 wide, 20 high: a column says where it was
    Image.fromarray(ramp).save(folder / "0.png")
    centre = read_window(folder, Window(1), View(20, 20, 1), chance())[0, 0, :, 0]
    assert centre[0] == ramp[0, 10]
    lefts = set()
    for number in range(200):
        row = read_window(folder, Window(1), View(20, 20, 1, "random", flip=True), chance(number))[0, 0, :, 0].astype(
            int
        )
        assert abs(np.diff(row)).tolist() == [6] * 19
        lefts.add((int(row.min()) // 6, bool(row[0] < row[-1])))
    assert {left for left, _ in lefts} == set(range(21))
    assert {way for _, way in lefts} == {True, False}
    squeezed = read_window(folder, Window(1), View(20, 20, 1, "stretch"), chance())[0, 0, :, 0].astype(int)
    assert squeezed[0] < 12
    assert squeezed[-1] > 222


def test_example_g_is_the_same_whoever_asks_and_epochs_are_permutations() -> None:
    clips = MovingDigits(8, 8, 2, clips=12)
    stream = Stream(clips, 5)
    backwards = [Stream(clips, 5)[index] for index in reversed(range(36))][::-1]
    for index, example in enumerate(backwards):
        assert np.array_equal(example.pixels, stream[index].pixels)
    orders = [[stream[epoch * 12 + place].number for place in range(12)] for epoch in range(3)]
    assert all(sorted(order) == list(range(12)) for order in orders)
    assert orders[0] != orders[1]


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")  # where there is one core
def test_workers_give_what_one_process_gives(tmp_path: Path, media: Media) -> None:
    for number in range(3):
        frames(tmp_path / f"c{number}", 6 + number)
    clips = FolderConfig(path=tmp_path, size=8, frames=3, interval=1, random_crop=True, flip=True, images=1).build()
    plan = [[0, 1], [2], [3, 4, 5]]
    alone, shared = (list(batches(Stream(clips, 0, 1), plan, workers)) for workers in (0, 2))
    for one, other in zip(alone, shared, strict=True):
        assert one.indices == other.indices
        assert one.pixels.shape[1:] == (4, 8, 8, 3)
        assert bool((one.pixels == other.pixels).all())


def test_corrupt_clips_are_told_and_replaced(tmp_path: Path) -> None:
    frames(tmp_path / "good", 5)
    (tmp_path / "bad.mp4").write_bytes(b"nothing of a video")
    stream = Stream(FolderConfig(path=tmp_path, size=8, frames=2, interval=1).build(), 0)
    troubles = []
    for index in range(6):
        example = stream[index]
        assert example.pixels.shape == (2, 8, 8, 3)
        troubles += example.troubles
    assert {each.path.name for each in troubles} == {"bad.mp4"}


def test_where_no_clip_can_be_used_it_is_one_clear_error(tmp_path: Path) -> None:
    frames(tmp_path / "a", 3)
    stream = Stream(FolderConfig(path=tmp_path, size=8, frames=4, interval=3).build(), 0)
    with pytest.raises(MediaError, match=r'has 3 frames; 10 are needed(.|\n)*"short" to "loop" or "hold"'):
        stream[0]


def test_empty_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="holds no clip"):
        FolderConfig(path=tmp_path).build()
    frames(tmp_path / "a", 3)
    listing = tmp_path / "list.txt"
    listing.write_text("b.avi 1\n")
    with pytest.raises(MediaError, match="no clip that its filter lists name"):
        FolderConfig(path=tmp_path, filter=(listing,)).build()


def test_filters_know_patterns(tmp_path: Path) -> None:
    """As VideoGeneration-PyTorch's filters are: its published one is the first four lines here."""
    for name in ("v_WallPushups_g01_c01", "v_PushUps_g01_c01", "v_TaiChi_g02_c01", "v_Archery_g01_c01", "[odd]"):
        frames(tmp_path / "set" / name, 2)
    listing = tmp_path / "filter.txt"
    listing.write_text("*WallPushups*\n*_PushUps*\n*_PullUps*\n*_TaiChi*\n[odd]\n")
    clips = FolderConfig(path=tmp_path / "set", filter=(listing,)).build()
    assert [each.name for each in clips.listing] == [
        "[odd]", "v_PushUps_g01_c01", "v_TaiChi_g02_c01", "v_WallPushups_g01_c01"
    ]  # fmt: skip
    assert clips.absent == ("*_PullUps*",)


def test_layouts_tell_classes(tmp_path: Path) -> None:
    for kind in ("Walking", "Archery"):
        for number in (1, 2):
            frames(tmp_path / kind / f"v_{kind}_g0{number}_c01", 3)
    for config in (ClassFoldersConfig, Ucf101Config):
        clips = config(path=tmp_path, size=8, frames=2, interval=1).build()
        assert clips.classes == ("Archery", "Walking")
        assert [clips.clip(number, chance()).label for number in range(4)] == [0, 0, 1, 1]
    listing = tmp_path / "trainlist01.txt"
    listing.write_text("Archery/v_Archery_g01_c01.avi 1\nWalking/v_Walking_g02_c01.avi 2\n")
    kept = Ucf101Config(path=tmp_path, filter=(listing,)).build()
    assert [each.path.name for each in kept.listing] == ["v_Archery_g01_c01", "v_Walking_g02_c01"]
    (tmp_path / "Walking" / "v_Walking_g01_c01").rename(tmp_path / "Walking" / "holiday")
    with pytest.raises(MediaError, match="not named like a clip of UCF101"):
        Ucf101Config(path=tmp_path).build()


def test_parts_of_a_set_are_found(tmp_path: Path) -> None:
    frames(tmp_path / "sky_train" / "a" / "a_1", 3)
    frames(tmp_path / "sky_test" / "b" / "b_1", 3)
    from diffsynth.training.data.files import SkyTimelapseConfig

    clips = SkyTimelapseConfig(path=tmp_path, split="train").build()
    assert [each.name for each in clips.listing] == ["a/a_1"]
    with pytest.raises(MediaError, match='has no part "val"'):
        SkyTimelapseConfig(path=tmp_path, split="val").build()


def test_captions_lie_beside_clips_and_a_missing_one_is_told(tmp_path: Path) -> None:
    frames(tmp_path / "a", 3)
    frames(tmp_path / "b", 3)
    (tmp_path / "a.txt").write_text("a fox\n runs")
    stream = Stream(FolderConfig(path=tmp_path, size=8, frames=2, interval=1, captions=True).build(), 0)
    examples = [stream[index] for index in range(4)]
    assert {each.captions[0] for each in examples} == {"a fox runs"}
    assert {trouble.path.name for each in examples for trouble in each.troubles} == {"b"}


def test_pictures_for_joint_training_come_from_a_list_with_their_classes(tmp_path: Path) -> None:
    for kind in ("x", "y"):
        frames(tmp_path / "clips" / kind / "c", 3)
    Image.new("RGB", (9, 9), (255, 0, 0)).save(tmp_path / "red.png")
    listing = tmp_path / "pictures.txt"
    listing.write_text("red.png y\n")
    config = ClassFoldersConfig(path=tmp_path / "clips", size=8, frames=2, interval=1, images=2, image_list=listing)
    example = Stream(config.build(), 0, 2)[0]
    assert example.pixels.shape == (4, 8, 8, 3)
    assert example.pixels[2:, 0, 0].tolist() == [[255, 0, 0]] * 2
    assert example.labels[1:] == (1, 1)
    listing.write_text("gone.png\n")
    with pytest.raises(MediaError, match=r"line 1: .*gone\.png isn't there"):
        config.build()
