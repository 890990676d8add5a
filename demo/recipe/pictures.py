"""The pictures to learn from: scenes painted several ways, with what the processors see in their source."""

import json
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from demo.painter import SEASONS, STYLES, TIMES, Scene, caption, draw
from demo.painter.light import Lit
from demo.painter.styles import render
from diffsynth.processors.canny import canny_edges
from diffsynth.processors.classic_soft_edge import soft_edges

WAYS = 3
"""How many ways each scene is painted."""
HELD_OUT = 10_000_000
"""Scenes from this seed on are never learnt from."""


@dataclass(frozen=True)
class PictureSet:
    """`scenes` scenes, each painted WAYS ways at size by size."""

    folder: Path
    size: int
    scenes: int
    first_seed: int

    @property
    def finished(self) -> Path:
        return self.folder / "captions.json"

    def array(self, name: str) -> NDArray[np.uint8]:
        return np.load(self.folder / f"{name}.npy", mmap_mode="r")

    @cached_property
    def captions(self) -> list[str]:
        return json.loads(self.finished.read_text(encoding="utf-8"))

    def paint(self) -> None:
        """Paints what isn't there yet. The same call always gives the same pictures."""
        if self.finished.exists():
            return
        cv2.setNumThreads(1)
        self.folder.mkdir(parents=True, exist_ok=True)
        plain = (self.scenes, self.size, self.size)
        targets = self._new("target", (self.scenes * WAYS, self.size, self.size, 3))
        maps = {name: self._new(name, plain) for name in ("soft", "canny", "depth")}
        rng = np.random.default_rng([self.first_seed, self.size])
        deck: list[tuple[int, int, int]] = []
        captions: list[str] = []
        for number in range(self.scenes):
            scene = Scene.from_seed(self.first_seed + number)
            canvas = draw(scene, float(rng.uniform(0, 30)), (self.size, self.size))
            source = self._source(Lit(canvas, *self._weather(rng)), rng)
            maps["soft"][number] = soft_edges(source)
            low = float(rng.uniform(50, 130))
            maps["canny"][number] = canny_edges(source, low, 2 * low)
            maps["depth"][number] = np.rint(canvas.nearness * 255)
            for way in range(WAYS):
                if not deck:
                    every = list(product(range(len(STYLES)), range(len(SEASONS)), range(len(TIMES))))
                    deck = [every[k] for k in rng.permutation(len(every))]
                a, b, c = deck.pop()
                targets[number * WAYS + way] = render(Lit(canvas, SEASONS[b], TIMES[c]), STYLES[a])
                captions.append(caption(scene, STYLES[a], SEASONS[b], TIMES[c], rng))
        for array in (targets, *maps.values()):
            array.flush()
        self.finished.write_text(json.dumps(captions), encoding="utf-8")

    def _new(self, name: str, shape: tuple[int, ...]) -> np.memmap:
        return np.lib.format.open_memmap(self.folder / f"{name}.npy", mode="w+", dtype=np.uint8, shape=shape)

    @staticmethod
    def _weather(rng: np.random.Generator) -> tuple[str, str]:
        """Sources are mostly summer days, as filmed clips are; the rest teaches that edges are edges."""
        if rng.random() < 0.5:
            return "summer", "day"
        return SEASONS[int(rng.integers(4))], ("day", "day", "sunset", "night")[int(rng.integers(4))]

    @staticmethod
    def _source(lit: Lit, rng: np.random.Generator) -> NDArray[np.uint8]:
        return render(lit, "cartoon" if rng.random() < 0.08 else "photo")
