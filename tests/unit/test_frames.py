import os
import pickle
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsynth.errors import StoreError
from diffsynth.frames import FrameStore, FrameWriter, is_complete
from diffsynth.timing import Timing

TIME_BASE = Fraction(1, 12800)


def picture(position: int, height: int, width: int, channels: int | None = 3) -> np.ndarray:
    shape = (height, width) if channels is None else (height, width, channels)
    return np.random.default_rng(position).integers(0, 256, shape, np.uint8)


def fill(writer: FrameWriter, stop: int, height: int = 9, width: int = 7) -> None:
    """Append frames up to `stop`; what frame i holds depends on i alone."""
    for i in range(writer.count, stop):
        writer.append(
            picture(i, height, width), picture(1000 + i, height, width, None), tick=i * 512 + i % 3, until=i * 512 + 510
        )


def new_writer(path: Path) -> FrameWriter:
    return FrameWriter(path, 9, 7, alpha=True, time_base=TIME_BASE)


def test_frames_alpha_and_times_come_back(tmp_path):
    with new_writer(tmp_path / "s") as writer:
        fill(writer, 5)
        store = writer.finish()
    assert (len(store), store.height, store.width, store.has_alpha) == (5, 9, 7, True)
    for i in (4, 0, 2, -1):
        np.testing.assert_array_equal(store[i], picture(i % 5, 9, 7))
        np.testing.assert_array_equal(store.alpha(i), picture(1000 + i % 5, 9, 7, None))
    assert [int(f[0, 0, 0]) for f in store.frames(1, 4)] == [int(picture(i, 9, 7)[0, 0, 0]) for i in (1, 2, 3)]
    timing = store.timing
    assert timing is not None
    assert timing.ticks.tolist() == [0, 513, 1026, 1536, 2049]
    assert timing.until == 4 * 512 + 510
    with pytest.raises(IndexError):
        store[5]


@given(height=st.integers(1, 20), width=st.integers(1, 20), count=st.integers(1, 4), flat=st.booleans())
@settings(max_examples=40, deadline=None)
def test_any_size_round_trips(tmp_path_factory, height, width, count, flat):
    path = tmp_path_factory.mktemp("store") / "s"
    frames = [np.full((height, width, 3), 7 * i, np.uint8) if flat else picture(i, height, width) for i in range(count)]
    with FrameWriter(path, height, width) as writer:
        for frame in frames:
            writer.append(frame)
        store = writer.finish()
    np.testing.assert_array_equal(np.stack(list(store)), np.stack(frames))
    assert store.timing is None
    assert (store.alpha(0) == 255).all()


def test_a_frame_is_the_callers_own(tmp_path):
    with FrameWriter(tmp_path / "s", 4, 4) as writer:
        writer.append(np.zeros((4, 4, 3), np.uint8))
        store = writer.finish()
    store[0][:] = 9
    assert (store[0] == 0).all()


def test_views_with_strides_are_stored_as_they_look(tmp_path):
    turned = np.rot90(picture(0, 6, 4))
    with FrameWriter(tmp_path / "s", 4, 6) as writer:
        writer.append(turned)
        np.testing.assert_array_equal(writer.finish()[0], turned)


def test_an_unfinished_store_cannot_be_read(tmp_path):
    with new_writer(tmp_path / "s") as writer:
        fill(writer, 2)
    assert not is_complete(tmp_path / "s")
    with pytest.raises(StoreError, match=r"s: is not complete"):
        FrameStore(tmp_path / "s")
    with pytest.raises(StoreError, match="holds no frame store"):
        FrameStore(tmp_path / "elsewhere")


def test_a_finished_store_cannot_be_written(tmp_path):
    with new_writer(tmp_path / "s") as writer:
        fill(writer, 1)
        writer.finish()
    with pytest.raises(StoreError, match="is complete"):
        new_writer(tmp_path / "s")


def test_another_size_does_not_continue(tmp_path):
    with new_writer(tmp_path / "s") as writer:
        fill(writer, 1)
    with pytest.raises(StoreError, match="another kind"):
        FrameWriter(tmp_path / "s", 9, 8, alpha=True, time_base=TIME_BASE)


def test_only_one_writer(tmp_path):
    with new_writer(tmp_path / "s"), pytest.raises(StoreError, match="another process is writing"):
        new_writer(tmp_path / "s")
    new_writer(tmp_path / "s").close()


def test_wrong_frames_are_refused(tmp_path):
    with FrameWriter(tmp_path / "s", 4, 4) as writer:
        with pytest.raises(ValueError, match="4x4"):
            writer.append(np.zeros((4, 5, 3), np.uint8))
        with pytest.raises(ValueError, match="uint8"):
            writer.append(np.zeros((4, 4, 3), np.float32))
        assert writer.count == 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished store of 7 frames."""
    path = tmp_path_factory.mktemp("whole") / "s"
    with new_writer(path) as writer:
        fill(writer, 7)
        writer.finish()
    return path


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir() if file.name != "writer.lock"}


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_continuing_after_any_cut_gives_the_same_bytes(whole, tmp_path_factory, data):
    """A kill leaves any prefix of either file (or, after a power cut, zeros where data was to be)."""
    path = tmp_path_factory.mktemp("cut") / "s"
    shutil.copytree(whole, path)
    (path / "complete.json").unlink()
    survived = {}
    for name in ("frames.bin", "index.bin"):
        size = (path / name).stat().st_size
        survived[name] = data.draw(st.integers(0, size), label=name)
        os.truncate(path / name, survived[name])
        if data.draw(st.booleans(), label=f"{name} padded with zeros"):
            os.truncate(path / name, size)
    with new_writer(path) as writer:
        count = writer.count
        record = (whole / "index.bin").stat().st_size // 7
        assert count * record <= survived["index.bin"] + record  # zeros are never taken for a frame
        assert writer.last_tick == (None if count == 0 else (count - 1) * 512 + (count - 1) % 3)
        fill(writer, 7)
        writer.finish()
    assert contents(path) == contents(whole)


def test_a_killed_writer_keeps_its_frames(tmp_path):
    """`kill -9` in the middle of writing, in a process of its own."""
    script = (
        "import sys, numpy as np; from diffsynth.frames import FrameWriter\n"
        "w = FrameWriter(sys.argv[1], 64, 64)\n"
        "i = 0\n"
        "while True:\n"
        "    w.append(np.full((64, 64, 3), i % 256, np.uint8)); i += 1\n"
        "    print(i, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "s")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = 0
    while printed < 50:
        printed = int(process.stdout.readline())
    process.kill()
    process.stdout.close()
    process.wait()
    with FrameWriter(tmp_path / "s", 64, 64) as writer:
        assert writer.count >= 50
        count = writer.count
        store = writer.finish()
    assert all((store[i] == i % 256).all() for i in range(count))


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_flipped_byte_is_noticed_and_named(whole, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flip") / "s"
    shutil.copytree(whole, path)
    name = data.draw(st.sampled_from(["frames.bin", "index.bin"]))
    content = bytearray((path / name).read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    (path / name).write_bytes(content)
    store = FrameStore(path)
    damaged = []
    for i in range(7):
        try:
            frame, alpha = store[i], store.alpha(i)
        except StoreError as problem:
            damaged.append((i, str(problem)))
            continue
        np.testing.assert_array_equal(frame, picture(i, 9, 7))
        np.testing.assert_array_equal(alpha, picture(1000 + i, 9, 7, None))
    ((frame_number, message),) = damaged
    assert f"{name}: frame {frame_number} is damaged" in message


def test_a_full_disk_is_said_and_nothing_is_complete(tmp_path):
    """A limit on the file's size stands in for the full disk: the kernel refuses the write in the same way."""
    script = (
        "import resource, signal, sys, numpy as np\n"
        "from diffsynth.errors import StoreError; from diffsynth.frames import FrameWriter\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "rng = np.random.default_rng(0)\n"
        "w = FrameWriter(sys.argv[1], 64, 64)\n"
        "try:\n"
        "    for i in range(50): w.append(rng.integers(0, 256, (64, 64, 3), np.uint8))\n"
        "except StoreError as e: print(w.count, e)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "s")], capture_output=True, text=True, check=True
    )
    count, message = run.stdout.split(" ", 1)
    assert "cannot be written: File too large" in message
    assert not is_complete(tmp_path / "s")
    with FrameWriter(tmp_path / "s", 64, 64) as writer:
        assert writer.count == int(count) > 0


def test_delete_frees_the_folder_and_a_half_deleted_store_is_unfinished(tmp_path, whole):
    shutil.copytree(whole, tmp_path / "s")
    FrameStore(tmp_path / "s").delete()
    assert not (tmp_path / "s").exists()


def test_a_store_travels_to_another_process(whole):
    store = pickle.loads(pickle.dumps(FrameStore(whole)))  # noqa: S301  our own bytes
    np.testing.assert_array_equal(store[3], picture(3, 9, 7))


def test_natural_pictures_shrink(tmp_path):
    """The filter earns its place: a shaded picture with noise of ±2 takes less than half of its raw size."""
    y, x = np.mgrid[0:256, 0:256]
    noise = np.random.default_rng(0).integers(-2, 3, (256, 256, 3))
    image = np.clip((np.stack([x, y, (x + y) // 2], -1) // 2 + 40) + noise, 0, 255).astype(np.uint8)
    with FrameWriter(tmp_path / "s", 256, 256) as writer:
        writer.append(image)
        writer.finish()
    assert (tmp_path / "s" / "frames.bin").stat().st_size < image.nbytes / 2


@given(
    count=st.integers(1, 300),
    start=st.integers(-5, 5000),
    rate=st.sampled_from(["25", "30000/1001", "24000/1001", "60"]),
)
@settings(deadline=None)
def test_rounded_stamps_are_regular(count, start, rate):
    fps, base = Fraction(rate), Fraction(1, 1000)
    ticks = np.array([start + round(i / fps / base) for i in range(count)], np.int64)
    assert Timing(ticks, int(ticks[-1]) + 40, base).is_regular(fps)


def test_a_dropped_frame_is_not_regular():
    ticks = np.array([0, 40, 80, 160, 200], np.int64)
    assert not Timing(ticks, 240, Fraction(1, 1000)).is_regular(Fraction(25))
