"""Maps that hold still: on a texture of known motion, with flicker put in by hand."""

import weakref
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moving import moving, nothing, texture
from numpy.typing import NDArray

from diffsynth.frames import FrameStore, FrameWriter, Image
from diffsynth.processors.base import MAPS, Advance, Frames, PerFrame, Stills, to_levels
from diffsynth.processors.flow import FlowFinder, fetch, join, likeness, within
from diffsynth.processors.levels import Relation, relate, settle, steady_path
from diffsynth.processors.steady import Steadying, steady, steady_depth
from diffsynth.processors.video_depth import contrasted, mean_levelled, with_contrast

STEP = (1, 2)
SIZE = (96, 128)
COUNT = 12


class Given:
    """A processor whose maps are given: what a network would have said."""

    passes, looks_around = 1, False

    def __init__(self, maps: list[Image]) -> None:
        self.maps = maps
        self.fingerprint = {"processor": "given"}

    def process(self, frames: Frames, folder: Path, advance: Advance) -> FrameStore:
        if (folder / MAPS / "complete.json").exists():
            return FrameStore(folder / MAPS)
        with FrameWriter(folder / MAPS, frames.height, frames.width) as writer:
            for position in range(writer.count, len(self.maps)):
                writer.append(self.maps[position])
            advance(len(self.maps))
            return writer.finish()


def grey_moving(seed: int) -> NDArray[np.float64]:
    """(T, H, W): a map that moves as the frames do."""
    picture = 40 + texture(*SIZE, seed, grain=6.0)[..., 0] * 0.6
    return np.stack([np.roll(picture, (STEP[0] * t, STEP[1] * t), (0, 1)) for t in range(COUNT)])


def as_maps(values: NDArray[np.float64]) -> list[Image]:
    return [np.repeat(to_levels(each)[..., None], 3, 2) for each in values]


def flicker(maps: list[Image]) -> float:
    """Mean change from frame to frame at the same point of the moving thing, the border left out."""
    back = [np.roll(each.astype(float), (-STEP[0] * t, -STEP[1] * t), (0, 1)) for t, each in enumerate(maps)]
    inner = slice(COUNT * STEP[1], -COUNT * STEP[1])
    return float(np.mean([np.abs(b - a)[inner, inner].mean() for a, b in pairwise(back)]))


FRAMES = moving(COUNT, *SIZE, step=STEP, seed=5)
STEADY_MAPS = grey_moving(6)


class TestFlow:
    def test_known_motion_is_found(self) -> None:
        flow = FlowFinder().flow(FRAMES[0], FRAMES[1])
        inner = flow[8:-8, 8:-8]
        # The search interpolates: a tenth of a pixel on a clean texture is what it is known for.
        assert np.abs(inner - [STEP[1], STEP[0]]).mean() < 0.1

    def test_fetching_along_known_motion_is_exact(self) -> None:
        flow = np.broadcast_to(np.float32([STEP[1], STEP[0]]), (*SIZE, 2))
        seen = fetch(FRAMES[1], flow)[:-4, :-4]
        assert np.array_equal(seen, FRAMES[0][:-4, :-4])
        assert within(flow)[:-1, :-2].all()
        assert not within(flow)[:, -2:].any()
        assert not within(flow)[-1:].any()

    def test_two_steps_are_one_long_one(self) -> None:
        one = np.broadcast_to(np.float32([STEP[1], STEP[0]]), (*SIZE, 2))
        assert np.allclose(join(one, one), 2 * one)

    def test_a_still_frame_does_not_move(self) -> None:
        assert not FlowFinder().flow(FRAMES[0], FRAMES[0].copy()).any()
        tiny = np.zeros((8, 8, 3), np.uint8)
        assert not FlowFinder().flow(tiny, tiny).any()

    def test_likeness(self) -> None:
        grey = np.full((20, 20, 3), 100, np.uint8)
        assert np.allclose(likeness(grey, grey.astype(np.float32), 12), 1)
        assert np.allclose(likeness(grey, grey + np.float32(12), 12), np.exp(-1))


class TestLevels:
    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.floats(-0.4, 0.4), min_size=2, max_size=40), st.integers(0, 100))
    def test_the_path_is_the_minimum(self, steps: list[float], seed: int) -> None:
        """Any other path costs more: the definition itself is the oracle."""
        given_steps = np.array(steps)

        def cost(path: NDArray[np.float64]) -> float:
            return float(np.sum((np.diff(path) - given_steps[1:]) ** 2) + np.sum((path / 30) ** 2))

        path = steady_path(given_steps)
        noise = np.random.Generator(np.random.PCG64(seed)).normal(0, 0.01, len(path))
        assert cost(path) <= cost(path + noise) + 1e-12

    def test_a_scale_is_found_whatever_sticks_out(self) -> None:
        before = STEADY_MAPS[0]
        after = before / 1.25 + 3
        after[:20, :40] = 250  # something moved otherwise than the flow says
        found = relate(before, after, np.ones(SIZE))
        assert found.gain == pytest.approx(1.25, rel=0.03)
        assert found.mean_before == pytest.approx(found.gain * (found.mean - 3), abs=2)

    def test_nothing_in_common_is_no_evidence(self) -> None:
        assert relate(STEADY_MAPS[0], STEADY_MAPS[1], np.zeros(SIZE)) == Relation(1.0, 0.0, 0.0)
        even = np.full(SIZE, 9.0)
        assert relate(even, even, np.ones(SIZE)).gain == 1.0

    def test_nothing_is_clipped(self) -> None:
        relations = [Relation(1.0, 0.0, 0.0), Relation(2.0, 100.0, 50.0)]
        levels = settle(relations, np.array([0.0, 0.0]), np.array([250.0, 125.0]))
        assert (levels.gains * [250, 125] + levels.offsets).max() <= 255 + 1e-9
        assert (levels.offsets >= -1e-9).all()


class TestSteady:
    def test_scales_of_their_own_are_evened_out(self, tmp_path: Path) -> None:
        generator = np.random.Generator(np.random.PCG64(1))
        noise = np.exp(generator.normal(0, 0.1, COUNT))[:, None, None]
        noisy = as_maps(STEADY_MAPS * noise)
        found = steady(Given(noisy), steady_depth(2, level=True)).process(Stills(FRAMES), tmp_path, nothing)
        assert flicker(list(found)) < 0.25 * flicker(noisy)
        levelled = steady(Given(noisy), steady_depth(0, level=True)).process(Stills(FRAMES), tmp_path / "0", nothing)
        assert flicker(list(levelled)) < 0.35 * flicker(noisy), "levelling alone must do most of it"

    def test_edges_that_come_and_go_are_averaged_along_the_motion(self, tmp_path: Path) -> None:
        generator = np.random.Generator(np.random.PCG64(2))
        noisy = as_maps(STEADY_MAPS + generator.normal(0, 25, STEADY_MAPS.shape))
        found = list(steady(Given(noisy), Steadying(2)).process(Stills(FRAMES), tmp_path, nothing))
        # Triangular weights over 5 frames leave 0.48 of independent noise, and of its steps 0.2.
        assert flicker(found) < 0.4 * flicker(noisy)
        error = [np.abs(a[..., 0] - b)[8:-8, 8:-8].mean() for a, b in zip(found, STEADY_MAPS, strict=True)]
        before = [np.abs(a[..., 0] - b)[8:-8, 8:-8].mean() for a, b in zip(noisy, STEADY_MAPS, strict=True)]
        assert np.mean(error) < 0.7 * np.mean(before), "it must come nearer to the truth, not only stand still"

    def test_what_is_steady_stays(self, tmp_path: Path) -> None:
        maps = as_maps(STEADY_MAPS)
        for name, how in (("depth", steady_depth(2, level=True)), ("edges", Steadying(2))):
            found = list(steady(Given(maps), how).process(Stills(FRAMES), tmp_path / name, nothing))
            apart = np.mean([np.abs(a.astype(float) - b)[8:-8, 8:-8].mean() for a, b in zip(found, maps, strict=True)])
            assert apart < 1.5  # the motion is found to a tenth of a pixel, and the map's slope is about 10 levels
        still = Stills([FRAMES[0]] * 4)
        for name, how in (("depth", steady_depth(2, level=True)), ("normals", Steadying(2, normals=True))):
            found = list(steady(Given([maps[0]] * 4), how).process(still, tmp_path / f"still-{name}", nothing))
            assert all(np.array_equal(each, maps[0]) for each in found)

    def test_a_map_does_not_follow_another_thing(self, tmp_path: Path) -> None:
        """Where frames show different things, nothing is averaged."""
        other = moving(1, *SIZE, seed=77)[0]
        maps = as_maps(np.stack([STEADY_MAPS[0], 255 - STEADY_MAPS[0]]))
        found = list(steady(Given(maps), Steadying(1)).process(Stills([FRAMES[0], other]), tmp_path, nothing))
        assert np.abs(found[0].astype(float) - maps[0]).mean() < 3

    def test_normals_keep_their_length(self, tmp_path: Path) -> None:
        """Two directions 90° apart average to the one between, as long as they are."""
        left, right = (np.full((*SIZE, 3), 127.5) for _ in range(2))
        left[..., 0] -= 120
        right[..., 1] += 120
        maps = [to_levels(each) for each in (left, right, left)]
        frames = Stills([FRAMES[0]] * 3)
        found = steady(Given(maps), Steadying(1, normals=True)).process(frames, tmp_path, nothing)
        length = np.linalg.norm(found[1].astype(float) - 127.5, axis=-1)
        assert np.allclose(length, 120, atol=1.5)  # rounding of three parts

    def test_memory_holds_the_window_only(self, tmp_path: Path) -> None:
        class Watched(Stills):
            """Counts the frames that somebody still holds."""

            alive = most = 0

            def __getitem__(self, position: int) -> Image:
                frame = super().__getitem__(position)
                self.alive += 1
                self.most = max(self.most, self.alive)
                weakref.finalize(frame, self.drop)
                return frame

            def drop(self) -> None:
                self.alive -= 1

        watched = Watched(FRAMES)
        steady(Given(as_maps(STEADY_MAPS)), steady_depth(1, level=True)).process(watched, tmp_path, nothing)
        assert COUNT > 6
        assert watched.most <= 4  # a frame, its two neighbours, and the one that comes in


class TestVideoDepth:
    def test_the_mean_is_the_clips(self, tmp_path: Path) -> None:
        shifts = np.array([0, 20, -10, 5])[:, None, None]
        maps = as_maps(STEADY_MAPS[:1] + 30 + shifts)
        found = list(mean_levelled(Given(maps)).process(Stills([FRAMES[0]] * 4), tmp_path, nothing))
        values = np.stack(maps).astype(float)
        means = values.mean((1, 2, 3), keepdims=True)
        assert np.abs(np.stack(found) - np.clip(values - means + means.mean(), 0, 255)).max() <= 0.5 + 1e-9

    def test_the_sigmoid(self, tmp_path: Path) -> None:
        depth = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, 2)
        expected = 255 / (1 + np.exp(-5 * (np.arange(256) / 127.5 - 0.8)))
        assert np.abs(contrasted(depth, 0.8)[0, :, 0] - expected).max() <= 0.5 + 1e-9
        inner = PerFrame.plain({}, lambda frame: frame)
        found = with_contrast(inner, 0.8).process(Stills([depth.repeat(4, 0)]), tmp_path, nothing)
        assert np.array_equal(found[0][:1], contrasted(depth, 0.8))
