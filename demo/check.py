"""Measures a trained demo model on scenes it never saw: `python -m demo.check [--model demo/model]`.

Every figure is printed with its bar; the exit status tells whether all were met. Edge figures stand beside a control:
the same pictures against another scene's edges, which is what ignoring the condition would score.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from demo.painter import LINE_STYLES, SEASONS, STYLES, Scene, Season, Style, Time, draw
from demo.painter.light import Lit
from demo.painter.styles import render
from demo.recipe.pictures import HELD_OUT
from demo.recipe.vae_stage import fidelity
from demo.studio import Studio
from diffsynth.processors.classic_soft_edge import soft_edges

Picture = NDArray[np.uint8]
Wish = tuple[Style, Season, Time]

PHRASES: dict[Style, str] = {
    "photo": "photo",
    "watercolor": "watercolor painting",
    "pencil": "pencil sketch",
    "neon": "neon lights",
    "pixel": "pixel art",
    "oil": "oil painting",
    "cartoon": "cartoon",
    "blueprint": "blueprint",
}
WISHES: tuple[Wish, ...] = tuple(
    (style, season, time)
    for style in STYLES
    for season, time in (*((season, "day") for season in SEASONS), ("summer", "sunset"), ("summer", "night"))
)
EDGE_THRESHOLD = 90
EDGE_REACH = 5
"""Edges count as met within two pixels: a line's two flanks, or a wash's wobble, are that far from its middle."""


@dataclass(frozen=True)
class Finding:
    name: str
    value: float
    bar: str
    met: bool

    def __str__(self) -> str:
        return f"{'ok  ' if self.met else 'MISS'} {self.name:<48} {self.value:7.3f}   {self.bar}"


def at_least(name: str, value: float, bar: float) -> Finding:
    return Finding(name, value, f"≥ {bar:g}", value >= bar)


def at_most(name: str, value: float, bar: float) -> Finding:
    return Finding(name, value, f"≤ {bar:g}", value <= bar)


def prompt_for(wish: Wish) -> str:
    style, season, time = wish
    return f"{PHRASES[style]} of a {season} landscape at {time}"


def brightness(pictures: Picture) -> float:
    return float(pictures.mean() / 255)


def warmth(pictures: Picture) -> float:
    """Red less blue."""
    return float((pictures[..., 0].astype(np.float64) - pictures[..., 2]).mean() / 255)


def saturation(pictures: Picture) -> float:
    return float(np.mean([cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[..., 1].mean() for picture in pictures]) / 255)


def edge_agreement(picture: Picture, source: Picture) -> tuple[float, float]:
    """Recall and precision of the picture's edges, judged by the source's."""
    brush = np.ones((EDGE_REACH, EDGE_REACH), np.uint8)
    found, wanted = (soft_edges(image) > EDGE_THRESHOLD for image in (picture, source))
    near_found, near_wanted = (cv2.dilate(mask.astype(np.uint8), brush) > 0 for mask in (found, wanted))
    recall = (wanted & near_found).sum() / max(1, wanted.sum())
    precision = (found & near_wanted).sum() / max(1, found.sum())
    return float(recall), float(precision)


def nearest_season(picture: Picture, examples: dict[Season, Picture]) -> Season:
    """The season of the example whose coarse colours are closest."""

    def coarse(image: Picture) -> NDArray[np.float32]:
        lab = cv2.cvtColor(image.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2Lab)
        return np.asarray(cv2.resize(lab, (6, 6), interpolation=cv2.INTER_AREA), dtype=np.float32)

    seen = coarse(picture)
    return min(examples, key=lambda season: float(np.abs(coarse(examples[season]) - seen).mean()))


@dataclass(frozen=True)
class Gallery:
    """What the model drew, per wish one picture for each scene and noise seed, in that order."""

    sources: list[Picture]
    drawn: dict[Wish, Picture]
    painted: dict[Wish, Picture]
    seeds: int

    def of_style(self, style: Style) -> list[Wish]:
        return [wish for wish in self.drawn if wish[0] == style]


def fill_gallery(studio: Studio, *, scenes: int, seeds: int, size: int, steps: int, guidance: float) -> Gallery:
    canvases = [draw(Scene.from_seed(HELD_OUT + k), 5.0, (size, size)) for k in range(scenes)]
    sources = [render(Lit(canvas, "summer", "day"), "photo") for canvas in canvases]
    conditions = np.stack([soft_edges(source) for source in sources])
    drawn: dict[Wish, Picture] = {}
    painted: dict[Wish, Picture] = {}
    for wish in WISHES:
        style, season, time = wish
        painted[wish] = np.stack([render(Lit(canvas, season, time), style) for canvas in canvases])
        runs = [
            studio(prompt_for(wish), conditions, steps=steps, guidance=guidance, seed=seed) for seed in range(seeds)
        ]
        drawn[wish] = np.stack(runs, axis=1).reshape(-1, size, size, 3)
    return Gallery(sources, drawn, painted, seeds)


def check_colours(gallery: Gallery) -> Iterator[Finding]:
    drawn = gallery.drawn
    winter, night = drawn["photo", "winter", "day"], drawn["photo", "summer", "night"]
    yield at_least("winter day: brightness", brightness(winter), 0.75)
    yield at_least("winter day: brightness above night", brightness(winter) - brightness(night), 0.45)
    yield at_least("sunset: red less blue", warmth(drawn["photo", "summer", "sunset"]), 0.15)
    yield at_least("autumn: red less blue", warmth(drawn["photo", "autumn", "day"]), 0.06)
    yield at_most("summer day: red less blue", warmth(drawn["photo", "summer", "day"]), -0.05)
    whole: tuple[tuple[Style, Callable[[Picture], float], str, Callable[[str, float, float], Finding], float], ...] = (
        ("pencil", saturation, "saturation", at_most, 0.12),
        ("blueprint", warmth, "red less blue", at_most, -0.3),
        ("neon", brightness, "brightness", at_most, 0.25),
    )
    for style, measure, what, compare, bar in whole:
        pictures = np.concatenate([drawn[wish] for wish in gallery.of_style(style)])
        yield compare(f"{style}: {what}", measure(pictures), bar)


def check_edges(gallery: Gallery) -> Iterator[Finding]:
    count = len(gallery.sources)
    for style in STYLES:
        scores, control = [], []
        for wish in gallery.of_style(style):
            for number, picture in enumerate(gallery.drawn[wish]):
                scene = number // gallery.seeds
                scores.append(edge_agreement(picture, gallery.sources[scene]))
                control.append(edge_agreement(picture, gallery.sources[(scene + 1) % count]))
        recall, precision = np.mean(scores, 0)
        other_recall, other_precision = np.mean(control, 0)
        bars = (0.9, 0.65) if style in LINE_STYLES else (0.6, 0.6)
        yield at_least(f"{style}: edge recall (another scene {other_recall:.2f})", float(recall), bars[0])
        yield at_least(f"{style}: edge precision (another scene {other_precision:.2f})", float(precision), bars[1])


def check_seasons(gallery: Gallery) -> Iterator[Finding]:
    right: dict[Style, list[bool]] = {}
    for style in ("photo", "watercolor", "oil", "pixel", "cartoon"):
        for season in SEASONS:
            for number, picture in enumerate(gallery.drawn[style, season, "day"]):
                scene = number // gallery.seeds
                examples = {other: gallery.painted[style, other, "day"][scene] for other in SEASONS}
                right.setdefault(style, []).append(nearest_season(picture, examples) == season)
    for style, answers in right.items():
        print(f"     season told right in {style}: {np.mean(answers):.2f}")
    yield at_least("season binding", float(np.mean([value for answers in right.values() for value in answers])), 0.9)


def check_vae(studio: Studio, scenes: int, size: int) -> Iterator[Finding]:
    rng = np.random.default_rng(5)
    pictures = []
    for number in range(scenes * len(STYLES)):
        canvas = draw(Scene.from_seed(HELD_OUT + 1000 + number), 3.0, (size, size))
        lit = Lit(canvas, SEASONS[int(rng.integers(4))], ("day", "sunset", "night")[int(rng.integers(3))])
        pictures.append(render(lit, STYLES[number % len(STYLES)]))
    for k, style in enumerate(STYLES):
        print(
            f"     autoencoder on {style}: {fidelity(studio.vae.network, np.stack(pictures[k :: len(STYLES)])):.1f} dB"
        )
    yield at_least("autoencoder, held-out pictures: PSNR in dB", fidelity(studio.vae.network, np.stack(pictures)), 27.0)


def check_size(folder: Path) -> Iterator[Finding]:
    """All of it at two bytes a number, whatever it is stored as now."""
    from safetensors import safe_open

    numbers = 0
    for path in sorted(folder.rglob("*.safetensors")):
        with safe_open(path, "np") as tensors:
            numbers += sum(int(np.prod(tensors.get_slice(name).get_shape())) for name in tensors.keys())  # noqa: SIM118
    yield at_most("size in fp16, MB", numbers * 2 / 1e6, 40.0)


def contact_sheet(gallery: Gallery, scene: int) -> Picture:
    """Rows: styles. Columns: the source, then what was drawn for each wish."""
    rows = []
    for style in STYLES:
        pictures = [gallery.drawn[wish][scene * gallery.seeds] for wish in gallery.of_style(style)]
        rows.append(np.concatenate([gallery.sources[scene], *pictures], axis=1))
    return np.concatenate(rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.check", description=__doc__)
    parser.add_argument("--model", type=Path, default=Path(__file__).parent / "model")
    parser.add_argument("--scenes", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--guidance", type=float, default=2.5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets, one per scene")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    studio = Studio.open(args.model)
    findings = [*check_size(args.model), *check_vae(studio, 3, args.size)]
    gallery = fill_gallery(
        studio, scenes=args.scenes, seeds=args.seeds, size=args.size, steps=args.steps, guidance=args.guidance
    )
    findings += [*check_colours(gallery), *check_edges(gallery), *check_seasons(gallery)]
    print("\n".join(map(str, findings)))
    if args.sheets:
        args.sheets.mkdir(parents=True, exist_ok=True)
        for scene in range(args.scenes):
            cv2.imwrite(str(args.sheets / f"scene{scene}.png"), contact_sheet(gallery, scene)[..., ::-1])
    sys.exit(0 if all(finding.met for finding in findings) else 1)


if __name__ == "__main__":
    main()
