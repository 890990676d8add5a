"""Training Latte with fused attention (SDPA) against attention written out: tokens a second and peak memory.

    python benchmarks/video_diffusion.py [--device cuda] [--rounds 3] [--steps 4] [--batch 1]

Two networks on 16 frames of 4×32×32 latents: Latte-S/2, and a spatial and a temporal block of Latte-XL/2 between its
first and last layers. A step is a forward pass, a backward pass and AdamW. Each run is a process of its own, and so is
its peak; the two kinds of attention take turns, and medians are told. On a CPU the time is the process's own CPU time,
which others on the machine disturb little; on CUDA it is the wall's, in bfloat16.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch

from diffsynth.diffusion.objective import DiffusionConfig
from diffsynth.models import Condition, LatteConfig, VideoShape

SHAPE = VideoShape(16, 4, 32, 32)
TOKENS = 16 * 16 * 16
NETWORKS: dict[str, dict[str, Any]] = {
    "Latte-S/2": {"size": "S/2"},
    "Latte-XL/2, 2 blocks": {"hidden": 1152, "depth": 2, "heads": 16, "patch": 2},
}
ATTENTIONS = ("sdpa", "math")


@dataclass(frozen=True)
class Measured:
    """One process's numbers."""

    seconds: float
    """For a step: the median."""
    peak: float
    """MiB at the most."""


def one(network: str, attention: str, device: str, steps: int, batch: int) -> Measured:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    settings = DiffusionConfig(variance="learned_range")
    objective = settings.build()
    config = LatteConfig(**NETWORKS[network], attention=attention)
    latte = config.build(SHAPE, Condition(), learned_sigma=settings.learned_sigma).to(device)
    optimizer = torch.optim.AdamW(latte.parameters(), 1e-4)
    clean = torch.randn(batch, SHAPE.frames, SHAPE.channels, SHAPE.height, SHAPE.width, device=device)
    cuda = device == "cuda"
    clock = time.perf_counter if cuda else time.process_time
    times = []
    for _ in range(steps + 1):
        start = clock()
        u, noise = torch.rand(batch, device=device), torch.randn_like(clean)
        with torch.autocast(device, torch.bfloat16, enabled=cuda):
            loss = objective.loss(lambda x, t: latte(x, t, None), clean, u, noise).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if cuda:
            torch.cuda.synchronize()
        times.append(clock() - start)
    peak = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Measured(statistics.median(times[1:]), peak / 2**20)  # the first step warms up


def apart(network: str, attention: str, args: argparse.Namespace) -> Measured:
    options = ["--device", args.device, "--steps", str(args.steps), "--batch", str(args.batch)]
    command = [sys.executable, __file__, "--one", network, attention, *options]
    return Measured(**json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        measured = one(*args.one, args.device, args.steps, args.batch)
        print(json.dumps({"seconds": measured.seconds, "peak": measured.peak}))
        return
    print("| network | attention | tokens/s | peak MiB | speed against `math` | memory |")
    print("|---|---|---|---|---|---|")
    for network in NETWORKS:
        rounds = [{each: apart(network, each, args) for each in ATTENTIONS} for _ in range(args.rounds)]
        for each in ATTENTIONS:
            seconds = statistics.median(found[each].seconds for found in rounds)
            peak = statistics.median(found[each].peak for found in rounds)
            speed = statistics.median(found["math"].seconds / found[each].seconds for found in rounds)
            memory = statistics.median(found[each].peak / found["math"].peak for found in rounds)
            tokens = args.batch * TOKENS / seconds
            print(f"| {network} | `{each}` | {tokens:.0f} | {peak:.0f} | {speed:.2f}× | {memory:.2f}× |", flush=True)


if __name__ == "__main__":
    main()
