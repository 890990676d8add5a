"""What attention in `shared` mode saves against `window`, and what a run spends outside of its networks.

    python benchmarks/stylize.py [--sizes tiny sd15] [--chunk 48] [--side 256]

Prints processor time a frame and step for both modes, side by side on one core, and the ratio; once with one ControlNet
that counts, and once with a second one of scale 0, which the seed evaluates and `shared` leaves out. Frames are from
the middle of a long clip, where a chunk has its full halo. Weights are random: time doesn't depend on what they hold.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor

import diffsynth  # noqa: F401  its guard lets diffusers be imported beside a torchvision that doesn't fit torch

# isort: split
from diffusers import ControlNetModel, UNet2DConditionModel

from diffsynth.arrays import ArrayStore, ArrayWriter
from diffsynth.attention.cross_frame import attention
from diffsynth.attention.patterns import AttentionMode, Source
from diffsynth.diffusion.chunks import ChunkPlan
from diffsynth.diffusion.denoise import FIRST, denoise
from diffsynth.diffusion.schedule import seed_schedule
from diffsynth.diffusion.solvers import Exact
from diffsynth.processors.base import Stills
from diffsynth.progress import Progress
from diffsynth.sd.control import ClipMaps, Condition, ControlBranch
from diffsynth.sd.networks import Networks
from diffsynth.sd.noise import Noise
from diffsynth.sd.placement import Placement
from diffsynth.sd.predict import Neighbourhood, Predictor
from diffsynth.sd.text import Script, Words
from diffsynth.tracks import Track

PATTERN = (-10000, -1, 0, 1)
CLIP, MIDDLE = 10_000, 5_000
SMALL = {"block_out_channels": (32, 64), "cross_attention_dim": 32, "attention_head_dim": 8, "layers_per_block": 1}
SIZES = {
    "tiny": {
        **SMALL,
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    },
    "sd15": {"cross_attention_dim": 768},
}
WORDS = 77


class Still(Condition):
    """The same condition for every frame, already embedded: only the networks are to be timed."""

    def __init__(self, embedded: Tensor) -> None:
        self.embedded = embedded

    def rows(self, sources: Sequence[Source]) -> Tensor:
        return self.embedded.expand(len(sources), -1, -1, -1)


def predictor(networks: Networks, mode: AttentionMode, scales: Sequence[float], latent: int) -> Predictor:
    """`scales` of the nets that are evaluated: the same net stands in for all."""
    generator = torch.Generator().manual_seed(0)
    width = networks.unet.config.block_out_channels[0]
    net = networks.branches[0]
    branches = tuple(replace(net, scale=Track.of(scale)) for scale in scales)
    words = torch.randn((1, WORDS, networks.unet.config.cross_attention_dim), generator=generator)
    condition = Still(torch.randn((1, width, latent, latent), generator=generator))
    return Predictor(
        Networks(networks.unet, branches, networks.links, networks.placement),
        (condition,) * len(branches),
        Script(Words((words, words), words.repeat(2, 1, 1)), (Track.of(0), Track.of(0))),
        Track.of(7.5),
        seed_schedule({}, 20),
        Neighbourhood(mode, PATTERN, 2, CLIP),
        Noise((4, latent, latent), Track.of(0)),
    )


def seconds(predict: Predictor, chunk: int, latent: int) -> float:
    """Processor time a frame."""
    x = torch.randn((4, latent, latent), generator=torch.Generator().manual_seed(1))

    def read(positions: Sequence[int]) -> Tensor:
        return x.expand(len(positions), -1, -1, -1)

    started = time.process_time()
    predict(read, range(MIDDLE, MIDDLE + chunk), predict.schedule.steps[3])
    return (time.process_time() - started) / chunk


def measure(size: str, chunk: int, side: int, repeats: int) -> None:
    latent = side // 8
    placement = Placement(torch.device("cpu"), torch.float32)
    unet = UNet2DConditionModel(**SIZES[size]).eval().to(memory_format=torch.channels_last)
    net = ControlNetModel.from_unet(unet).eval().to(memory_format=torch.channels_last)
    networks = Networks.linked(
        unet, [ControlBranch.of(net, placement, Track.of(1.0), 0.0, 1.0)], attention("auto"), placement
    )
    tiny_scale = 1e-9  # what it adds is nothing, but it is evaluated, as the seed evaluates a net of scale 0
    shared = predictor(networks, "shared", [1.0], latent)
    for mode in get_args(AttentionMode):  # the first passes touch memory that later ones find
        seconds(predictor(networks, mode, [1.0], latent), 1, latent)
    cases = {"one net": [1.0], "and one of scale 0": [1.0, tiny_scale]}
    for name, scales in cases.items():
        window = predictor(networks, "window", scales, latent)
        pairs = [(seconds(window, 1, latent), seconds(shared, chunk, latent)) for _ in range(repeats)]
        theirs, ours = (statistics.median(each) for each in zip(*pairs, strict=True))
        ratio = statistics.median(one / other for one, other in pairs)
        print(f"{size:5} {side}² {name:20} window {theirs:8.3f} s  shared {ours:8.3f} s  {ratio:5.2f}×", flush=True)
    overhead(networks, latent, 8 if size == "sd15" else 64, 1 if size == "sd15" else 4)


class Clock:
    """Processor time inside of the networks."""

    def __init__(self, networks: Networks) -> None:
        self.seconds = 0.0
        for network in (networks.unet, *(branch.network for branch in networks.branches)):
            network.register_forward_pre_hook(self._begin)
            network.register_forward_hook(self._end)

    def _begin(self, *_: object) -> None:
        self._started = time.process_time()

    def _end(self, *_: object) -> None:
        self.seconds += time.process_time() - self._started


def overhead(networks: Networks, latent: int, frames: int, steps: int) -> None:
    """The loop as a run walks it, with latents and conditions on disk: what it spends outside of its networks."""
    clock = Clock(networks)
    plain = predictor(networks, "shared", [1.0], latent)
    width = networks.unet.config.block_out_channels[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ArrayWriter(folder / "embedded", (width, latent, latent)) as embedded:
            embedded.append(np.zeros((frames, width, latent, latent), np.float32))
        with ArrayWriter(folder / "latents" / FIRST, (1, 4, latent, latent)) as first:
            first.append(np.ones((frames, 1, 4, latent, latent), np.float32))
        kept = Condition(
            networks.branches[0],
            ClipMaps(Stills([np.zeros((8, 8, 3), np.uint8)] * frames), []),
            ArrayStore(folder / "embedded"),
        )
        walked = replace(
            plain,
            conditions=(kept,),
            neighbourhood=replace(plain.neighbourhood, count=frames),
            schedule=seed_schedule({}, steps),
        )
        started = time.process_time()
        denoise(
            folder / "latents",
            walked.schedule,
            Exact(),
            walked,
            ChunkPlan.even(frames, frames, lambda _: None),
            Progress(),
        )
        total = time.process_time() - started
    share = (total - clock.seconds) / total
    print(
        f"      {frames} frames, {steps} steps: {total:.1f} s, of which outside of the networks {share:.2%}", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--chunk", type=int, default=48)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for size in args.sizes:
        measure(size, args.chunk, args.side, 1 if size == "sd15" else args.repeats)


if __name__ == "__main__":
    main()
