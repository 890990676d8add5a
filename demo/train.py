"""Trains the demo model from nothing: `python -m demo.train --steps 6000` or `--budget-minutes 120`.

The budget only chooses the steps at the start; from then on the seed and the steps determine the result. Everything is
kept in one work folder; killed at any moment, the same command goes on where it was.
"""

import argparse
import json
import time
from pathlib import Path

import torch

from demo.recipe.joint_stage import Plan, Workshop, train_depth, train_joint
from demo.recipe.models import new_scheduler
from demo.recipe.pictures import PictureSet
from demo.recipe.vae_stage import polish_decoder, train_vae
from demo.recipe.words import write_tokenizer

WORK = Path(__file__).parent / "work"
SMALL, LARGE = 128, 192
# What one step of each stage takes on one core that does 60 GFLOP/s; only budgets need it.
SECONDS_PER_STEP = {"vae": 0.33, "joint": 1.2, "depth": 1.2}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo.train", description=__doc__)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, help="steps of the joint stage (the others follow from it)")
    length.add_argument("--budget-minutes", type=float, help="choose the steps so that all takes about this long")
    parser.add_argument("--vae-steps", type=int, help="steps of the autoencoder's stage")
    parser.add_argument("--depth-steps", type=int, help="steps of the depth net's stage; 0 leaves it out")
    parser.add_argument("--polish-steps", type=int, help="further steps of the decoder, after all else; 0 by default")
    parser.add_argument("--scenes", type=int, default=2400, help="scenes per picture size")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, default=WORK, help="work folder")
    parser.add_argument("--save-seconds", type=float, default=150.0, help="how often the state is written")
    parser.add_argument("--until", choices=("pictures", "vae", "joint", "depth"), default="depth", help="stop after")
    return parser.parse_args()


def chosen_plan(args: argparse.Namespace) -> Plan:
    """The plan kept in the work folder, or a new one; more steps than before lengthen a stage."""
    path = args.work / "plan.json"
    kept = Plan(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None
    if args.budget_minutes is not None and kept is None:
        seconds = args.budget_minutes * 60
        steps = int(0.62 * seconds / SECONDS_PER_STEP["joint"])
        vae, depth = int(0.18 * seconds / SECONDS_PER_STEP["vae"]), int(0.2 * seconds / SECONDS_PER_STEP["depth"])
        plan = Plan(steps, vae, depth, args.scenes, args.batch, args.seed, args.polish_steps or 0)
    elif kept is not None:
        plan = kept.lengthened(args.steps, args.depth_steps, args.polish_steps)
    else:
        steps = args.steps or 6000
        vae = args.vae_steps if args.vae_steps is not None else max(1, steps // 3)
        depth = args.depth_steps if args.depth_steps is not None else steps // 3
        plan = Plan(steps, vae, depth, args.scenes, args.batch, args.seed, args.polish_steps or 0)
    args.work.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plan.__dict__, indent=2), encoding="utf-8")
    return plan


def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    plan = chosen_plan(args)
    print(f"plan {plan}", flush=True)
    model, started = args.work / "model", time.monotonic()
    sets = {
        size: PictureSet(args.work / f"pictures-{size}", size, plan.scenes, first_seed=plan.seed + offset)
        for size, offset in ((SMALL, 1_000_000), (LARGE, 2_000_000))
    }
    sets[LARGE].paint()
    sets[SMALL].paint()
    tokenizer = write_tokenizer(model / "tokenizer")
    new_scheduler().save_pretrained(model / "scheduler")
    print(f"pictures after {time.monotonic() - started:.0f} s", flush=True)
    if args.until == "pictures":
        return
    vae = train_vae(
        sets[LARGE], args.work / "vae.pt", plan.vae_steps, seed=plan.seed, device=args.device, every=args.save_seconds
    )
    vae.save_pretrained(model / "vae")
    if args.until == "vae":
        return
    shop = Workshop(plan, sets, vae, tokenizer, args.work, args.device)
    train_joint(shop, args.save_seconds)
    if args.until == "depth" and plan.depth_steps:
        train_depth(shop, args.save_seconds)
    if args.until == "depth" and plan.polish_steps:
        vae = polish_decoder(
            vae,
            sets[LARGE],
            args.work / "polish.pt",
            plan.polish_steps,
            seed=plan.seed,
            device=args.device,
            every=args.save_seconds,
        )
        vae.save_pretrained(model / "vae")


if __name__ == "__main__":
    main()
