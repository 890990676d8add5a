"""Stylization as a user runs it, against a plain restatement of the seed's algorithm that shares no code with it."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stylizing import NEGATIVE, PROMPT, Bench, psnr, run
from window_oracle import OracleNet, WindowJob, prepare, shared_frames, window_frames

from diffsynth.frames import Image
from diffsynth.images import read_image

GREY_LEVELS = 0.05
"""Two orders of the same float32 sums differ in the last bits; where a value lies between two levels, one flips."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench.make(tmp_path_factory.mktemp("bench"))


def job(bench: Bench, pattern: tuple[int | str, ...], **keys: Any) -> WindowJob:
    return WindowJob(bench.model, PROMPT, NEGATIVE, bench.frames, pattern, steps=4, **keys)


def reference(bench: Bench) -> Image:
    return read_image(bench.folder / "reference.png")[0][None]


def two_nets(bench: Bench) -> tuple[list[dict[str, Any]], tuple[OracleNet, ...]]:
    """The frames themselves as condition of one net, and a style picture as that of one that pools."""
    style = reference(bench)
    config = [
        {"model_id": str(bench.folder / "plain_net"), "processor": "tile", "scale": 0.8},
        {"model_id": str(bench.folder / "pooled_net"), "condition": str(bench.folder / "reference.png"), "scale": 0.6},
    ]
    oracle = (
        OracleNet(bench.folder / "plain_net", 0.8, bench.frames, style),
        OracleNet(bench.folder / "pooled_net", 0.6, np.repeat(style, len(bench.frames), 0), style),
    )
    return config, oracle


PATTERNS: list[tuple[int | str, ...]] = [(0,), (-10000, -1, 0, 1), ("reference_0", -1, 0, 1)]


ORACLES = {"window": window_frames, "shared": shared_frames}


@pytest.mark.parametrize("mode", ORACLES)
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_each_mode_is_its_definition(bench: Bench, pattern: tuple[int | str, ...], mode: str, tmp_path: Path) -> None:
    """`window` is the seed's algorithm; in `shared` a frame asks its neighbours at the same layer."""
    config, nets = two_nets(bench)
    keys: dict[str, Any] = {"controlnets": config, "combine_pattern": list(pattern), "attention_mode": mode}
    references = None
    if "reference_0" in pattern:
        keys["frames_reference"] = [str(bench.folder / "reference.png")]
        references = reference(bench)
    found = run(bench.config(str(tmp_path), **keys))
    expected = ORACLES[mode](job(bench, pattern, nets=nets, references=references))
    assert np.abs(found.astype(int) - expected).mean() < GREY_LEVELS


def test_window_mode_from_a_clip_at_a_strength(bench: Bench, tmp_path: Path) -> None:
    keys: dict[str, Any] = {"combine_pattern": [-1, 0, 1], "attention_mode": "window", "img2img_strength": 0.6}
    found = run(bench.config(str(tmp_path), **keys))
    expected = window_frames(job(bench, (-1, 0, 1), strength=0.6))
    assert np.abs(found.astype(int) - expected).mean() < GREY_LEVELS


@pytest.mark.parametrize("mode", ORACLES)
def test_prompts_of_several_pieces_and_patterns_that_repeat(bench: Bench, mode: str, tmp_path: Path) -> None:
    """In the seed's two passes each prompt has its own length; in one pass they have the longer one's."""
    config, nets = two_nets(bench)
    long, pattern = "a tower in the rain at the sea " * 9, (0, 0, -1, "reference_0", "reference_0")
    keys: dict[str, Any] = {"controlnets": config, "combine_pattern": list(pattern), "attention_mode": mode}
    keys |= {"prompt": long, "frames_reference": [str(bench.folder / "reference.png")], "frame_maximum_count": 3}
    found = run(bench.config(str(tmp_path), **keys))
    told = WindowJob(
        bench.model,
        long,
        NEGATIVE,
        bench.frames[:3],
        pattern,
        steps=4,
        nets=tuple(replace(net, conditions=net.conditions[:3]) for net in nets),
        references=reference(bench),
    )
    assert prepare(told, same_chunks=False).positive.shape[1] > prepare(told, same_chunks=False).negative.shape[1]
    expected = ORACLES[mode](told)
    assert np.abs(found.astype(int) - expected).mean() < GREY_LEVELS


def test_a_long_prompt_is_not_cut(bench: Bench, tmp_path: Path) -> None:
    prompt = "white trees and " * 40
    keys: dict[str, Any] = {"prompt": prompt, "combine_pattern": [0], "attention_mode": "window"}
    found = run(bench.config(str(tmp_path), **keys))
    long = WindowJob(bench.model, prompt, NEGATIVE, bench.frames, (0,), steps=4)
    assert np.abs(found.astype(int) - window_frames(long)).mean() < GREY_LEVELS
    assert psnr(found, window_frames(job(bench, (0,)))) < 40, "the words beyond the first 77 must count"


def motion(frames: Image, positions: Iterable[int]) -> float:
    """Energy of the differences between these frames and the ones before them."""
    return float(np.mean([np.square(frames[at].astype(float) - frames[at - 1]).mean() for at in positions]))


def test_chunks_do_not_show(tmp_path: Path) -> None:
    bench = Bench.make(tmp_path / "bench", count=20)
    net = {"model_id": str(bench.folder / "plain_net"), "processor": "tile"}

    def rendered(size: int, halo: int) -> Image:
        keys: dict[str, Any] = {"controlnets": [net], "combine_pattern": "seed", "chunk_size": size, "halo": halo}
        return run(bench.config(f"out-{size}-{halo}", **keys))

    whole, four = rendered(64, 2), rendered(4, 2)
    assert psnr(four, whole) > 40
    assert psnr(rendered(8, 2), whole) > 40
    borders = range(4, 20, 4)
    inside = [frame for frame in range(1, 20) if frame not in borders]
    jump = motion(four, borders) / motion(whole, borders)
    assert abs(jump / (motion(four, inside) / motion(whole, inside)) - 1) < 0.05, "no jump where chunks meet"
    assert psnr(rendered(4, 0), whole) < 40, "without a halo they would: frames differ enough for this to be a test"
