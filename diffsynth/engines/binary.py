"""A user's own `ebsynth` or `ebsynth_nnf` program: run without a shell, in a private folder, its status checked."""

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffsynth.engines.base import ErrorMap, Image, Init, Matches, Nnf, Pair
from diffsynth.engines.program import LONGEST, Program
from diffsynth.errors import EngineError, MediaError
from diffsynth.images import read_image, write_png


@dataclass(frozen=True)
class EbsynthProgram:
    """`ebsynth` as a way to paint targets from styles, up to `jobs` processes at a time."""

    program: Path
    patch: int
    weight: float
    folder: Path | None = None
    """Where the private folder is made; without one, where the system keeps such folders."""
    jobs: int = 1
    longest: float = LONGEST
    """Seconds that one pair may take."""

    def __call__(
        self, pairs: Sequence[Pair], guides: Mapping[int, Image], styles: Mapping[int, Image]
    ) -> Sequence[Image]:
        with _private_folder(self.folder) as name:
            work = Path(name)
            for t, guide in guides.items():
                write_png(work / f"guide{t}.png", guide)
            for t, style in styles.items():
                write_png(work / f"style{t}.png", style)
            program = Program(self.program, self.longest)
            with ThreadPoolExecutor(self.jobs) as pool:
                waiting = [pool.submit(self._paint, program, work, pair, guides[pair[1]].shape) for pair in pairs]
                try:
                    ended, _ = wait(waiting, return_when=FIRST_EXCEPTION)
                    return [each.result() for each in waiting if each in ended]
                except BaseException:
                    # The pool waits for what runs: without this, a stopped run would last as long as its programs.
                    program.end()
                    pool.shutdown(cancel_futures=True)
                    raise

    def _paint(self, program: Program, work: Path, pair: Pair, shape: tuple[int, ...]) -> Image:
        source, target = pair
        output = work / f"{source}to{target}.png"
        program.run(
            [
                *("-style", str(work / f"style{source}.png")),
                *("-guide", str(work / f"guide{source}.png"), str(work / f"guide{target}.png")),
                *("-weight", f"{self.weight:g}"),
                *("-patchsize", str(self.patch)),
                *("-output", str(output)),
            ],
            work / f"{source}to{target}.log",
        )
        try:
            painted, _ = read_image(output)
        except (MediaError, FileNotFoundError) as error:
            raise EngineError(f"{self.program}: reported success, but left no picture ({error}).") from error
        if painted.shape != shape:
            raise EngineError(f"{self.program}: made a picture of {painted.shape}, not of {shape}.")
        return painted


@dataclass(frozen=True)
class NnfProgram:
    """`ebsynth_nnf` behind the `Engine` protocol. Its file lists, for each target pixel in rows, the "x y"."""

    program: Path
    patch: int
    weight: float
    folder: Path | None = None
    longest: float = LONGEST
    """Seconds that one pair may take."""

    def frame(self, guides: Sequence[Image]) -> Image:
        if len(guides) != 1:
            raise EngineError(f"{self.program}: takes one guide a frame, not {len(guides)}.")
        return guides[0]

    def estimate(
        self,
        pairs: Sequence[Pair],
        guides: Sequence[Image] | Mapping[int, Image],
        styles: Sequence[Image] | Mapping[int, Image] | None = None,
        init: Init | None = None,
    ) -> Matches:
        found = [
            self._match(guides[source], guides[target], guides[source] if styles is None else styles[source])
            for source, target in pairs
        ]
        height, width = found[0].shape[:2]
        return Matches(np.stack(found), np.zeros((len(found), height, width), np.float32))

    def vote(self, nnf_yx: Nnf, image: Image, error: ErrorMap | None = None) -> Image:
        raise EngineError(f"{self.program}: finds matches, but can't paint with them.")

    def _match(self, source: Image, target: Image, style: Image) -> Nnf:
        with _private_folder(self.folder) as name:
            work = Path(name)
            for file, image in (("source.png", source), ("target.png", target), ("style.png", style)):
                write_png(work / file, image)
            output = work / "nnf.txt"
            Program(self.program, self.longest).run(
                [
                    *("-style", str(work / "style.png")),
                    *("-guide", str(work / "source.png"), str(work / "target.png")),
                    *("-weight", f"{self.weight:g}"),
                    *("-patchsize", str(self.patch)),
                    *("-output", str(output)),
                ],
                work / "log",
            )
            return self._read(output, target.shape[:2], source.shape[:2])

    def _read(self, path: Path, size: tuple[int, ...], limits: tuple[int, ...]) -> Nnf:
        try:
            numbers = np.array(path.read_text().split(), np.int64)
        except (OSError, ValueError, OverflowError) as error:
            raise EngineError(f"{self.program}: reported success, but left no list of numbers ({error}).") from error
        if numbers.size != size[0] * size[1] * 2:
            raise EngineError(
                f"{self.program}: listed {numbers.size} numbers; a target of {size[0]}×{size[1]} pixels needs "
                f"{size[0] * size[1] * 2}."
            )
        nnf_yx = numbers.reshape(*size, 2)[..., ::-1]
        if (nnf_yx < 0).any() or (nnf_yx >= limits).any():
            raise EngineError(f"{self.program}: listed places outside of the source.")
        return np.ascontiguousarray(nnf_yx, np.int16)


def _private_folder(parent: Path | None) -> "tempfile.TemporaryDirectory[str]":
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="ebsynth-", dir=parent)
