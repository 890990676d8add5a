"""Processors that need no weights: what each is for."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from moving import moving, nothing, stored, texture

from diffsynth.errors import ConfigError
from diffsynth.frames import FrameWriter
from diffsynth.processors.base import Stills
from diffsynth.processors.canny import ControlnetImageProcessorCannyConfig, canny_edges
from diffsynth.processors.classic_depth import classic_depth
from diffsynth.processors.detection import detection_size, to_detection, to_frame
from diffsynth.processors.inpaint import ControlnetImageProcessorInpaintConfig, condition_values
from diffsynth.processors.shuffle import shuffled
from diffsynth.processors.tile import ControlnetImageProcessorTileConfig
from diffsynth.runtime import Runtime

CPU = Runtime("cpu", threads=1)
FRAME = moving(1, 96, 128)[0]


class TestShuffle:
    def test_the_seed_decides_and_nothing_else(self) -> None:
        state = np.random.get_state()[1].copy()
        first, again, other = shuffled(FRAME, 3), shuffled(FRAME, 3), shuffled(FRAME, 4)
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
        assert np.array_equal(state, np.random.get_state()[1])

    def test_colours_stay_and_places_don_t(self) -> None:
        """It moves pixels: no colour leaves the range that the picture has, and flat stays flat."""
        flat = np.full((50, 60, 3), (10, 120, 200), np.uint8)
        assert np.array_equal(shuffled(flat, 0), flat)
        moved = shuffled(FRAME, 0, 32)
        assert np.abs(moved.astype(int) - FRAME).mean() > 10
        assert (moved.min((0, 1)) >= FRAME.min((0, 1))).all()
        assert (moved.max((0, 1)) <= FRAME.max((0, 1))).all()

    def test_the_whole_picture_is_drawn_on(self) -> None:
        y, x = np.mgrid[:256, :256]
        places = np.stack([x, y, np.zeros_like(x)], -1).astype(np.uint8)
        for seed in range(5):
            reached = shuffled(places, seed, 64)
            # The noise takes the whole of 0 to 1 in both directions, so that every edge is reached.
            assert reached[..., :2].min() == 0
            assert reached[..., :2].max() == 255


class TestClassicDepth:
    def test_low_is_near_and_haze_is_far(self) -> None:
        plain = np.full((96, 128, 3), 90, np.uint8)
        depth = classic_depth(plain).astype(int)
        assert (np.diff(depth.mean(1)) >= 0).all()
        hazy = plain.copy()
        hazy[:, 64:] = 230
        found = classic_depth(hazy).astype(int)
        assert found[:, 80:].mean() < found[:, :48].mean() - 20

    def test_detail_is_near(self) -> None:
        half = np.full((96, 128, 3), 128, np.uint8)
        half[:, 64:] = (texture(96, 128, 1, 1.0)[:, 64:] * 0.4 + 77).astype(np.uint8)
        found = classic_depth(half).astype(int)
        assert found[:, 80:].mean() > found[:, :48].mean()

    def test_outlines_of_the_frame_are_outlines_of_the_depth(self) -> None:
        hazy = np.full((192, 256, 3), 60, np.uint8)
        hazy[:, 128:] = 220
        row = classic_depth(hazy)[96].astype(int)
        # The haze is averaged over 17 pixels and eroded; led by the frame, the step is a few pixels wide.
        assert np.abs(np.diff(row)).argmax() in range(124, 132)
        assert np.abs(np.diff(row)).max() > 10

    def test_the_scale_does_not_hang_on_the_frame(self) -> None:
        """A bright thing that enters changes its own depth, not that of the rest."""
        before = np.full((96, 128, 3), 90, np.uint8)
        after = before.copy()
        after[:20, :20] = 255
        apart = np.abs(classic_depth(before).astype(int) - classic_depth(after))
        assert apart[60:, 60:].max() <= 1


def test_canny_thresholds_are_read(tmp_path: Path) -> None:
    processor = ControlnetImageProcessorCannyConfig(low_threshold=20.0, high_threshold=40.0).build(CPU)
    [found] = processor.process(Stills([FRAME]), tmp_path, nothing)
    assert np.array_equal(found[..., 0], canny_edges(FRAME, 20, 40))
    assert not np.array_equal(found[..., 0], canny_edges(FRAME))


def test_tile_is_the_frame(tmp_path: Path) -> None:
    [found] = ControlnetImageProcessorTileConfig().build(CPU).process(Stills([FRAME]), tmp_path, nothing)
    assert np.array_equal(found, FRAME)


class TestDetectionSize:
    @pytest.mark.parametrize(
        ("size", "resolution", "expected"),
        [((512, 960), None, (512, 960)), ((540, 960), None, (512, 960)), ((720, 1280), 512, (512, 896)),
         ((30, 40), None, (64, 64)), ((960, 540), 512, (896, 512))],
    )  # fmt: skip
    def test_sizes(self, size: tuple[int, int], resolution: int | None, expected: tuple[int, int]) -> None:
        assert detection_size(*size, resolution) == expected
        frame = np.zeros((*size, 3), np.uint8)
        seen = to_detection(frame, resolution)
        assert seen.shape[:2] == expected
        assert to_frame(seen, *size).shape == frame.shape


class TestInpaint:
    def test_the_clips_transparency_is_the_mask(self, tmp_path: Path) -> None:
        alpha = np.full((96, 128), 255, np.uint8)
        alpha[10:20, 30:50] = 0
        with FrameWriter(tmp_path / "clip", 96, 128, alpha=True) as writer:
            writer.append(FRAME, alpha)
            clip = writer.finish()
        found = ControlnetImageProcessorInpaintConfig().build(CPU).process(clip, tmp_path / "out", nothing)
        values = condition_values(found[0], found.alpha(0))
        assert (values[10:20, 30:50] == -1).all()
        kept = alpha > 0
        assert np.allclose(values[kept], FRAME[kept] / 255)

    def test_a_mask_that_grows(self, tmp_path: Path) -> None:
        mask = np.zeros((96, 128), np.uint8)
        mask[40:50, 60:70] = 255
        PIL.Image.fromarray(mask).save(tmp_path / "mask.png")
        settings = ControlnetImageProcessorInpaintConfig(mask=str(tmp_path / "mask.png"), grow=3)  # type: ignore[arg-type]
        found = settings.build(CPU).process(Stills([FRAME] * 3), tmp_path / "out", nothing)
        expected = np.zeros((96, 128), bool)
        expected[37:53, 57:73] = True
        assert all(np.array_equal(found.alpha(t) == 0, expected) for t in range(3))

    def test_a_mask_that_moves(self, tmp_path: Path) -> None:
        (tmp_path / "masks").mkdir()
        for t in range(3):
            mask = np.zeros((96, 128), np.uint8)
            mask[t * 10 : t * 10 + 10] = 255
            PIL.Image.fromarray(mask).save(tmp_path / "masks" / f"{t}.png")
        settings = ControlnetImageProcessorInpaintConfig(mask=str(tmp_path / "masks"))  # type: ignore[arg-type]
        found = settings.build(CPU).process(Stills([FRAME] * 3), tmp_path / "out", nothing)
        assert [int(np.argmax(found.alpha(t)[:, 0] == 0)) for t in range(3)] == [0, 10, 20]
        with pytest.raises(ConfigError, match="ends after 3 pictures, the clip has 4 frames"):
            settings.build(CPU).process(Stills([FRAME] * 4), tmp_path / "long", nothing)

    def test_nothing_to_repaint(self, tmp_path: Path) -> None:
        clip = stored(tmp_path / "clip", [FRAME])
        with pytest.raises(ConfigError, match='no "mask" says what'):
            ControlnetImageProcessorInpaintConfig().build(CPU).process(clip, tmp_path / "out", nothing)
