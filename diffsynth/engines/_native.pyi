from collections.abc import Callable, Sequence

from numpy import float32, int16, uint8
from numpy.typing import NDArray

from diffsynth.engines.base import ErrorMap, Image, Nnf

api_version: int

class Frame:
    height: int
    width: int
    guides: int
    channels: int
    def __init__(self, guides: Sequence[Image]) -> None: ...

def estimate(
    sources: Sequence[Frame],
    targets: Sequence[Frame],
    styles: Sequence[Image | None],
    inits: Sequence[Nnf | None],
    source_masks: Sequence[Image | None],
    target_masks: Sequence[Image | None],
    modulations: Sequence[Sequence[Image | None]],
    weights: Sequence[float],
    *,
    preset: int,
    backend: int,
    start: int,
    patch: int,
    levels: int,
    rounds: int,
    sweeps: int,
    stop_threshold: int,
    extra_pass: bool,
    error_weighted: bool,
    threads: int,
    seed: int,
    uniformity: float | None,
    style_weight: float,
    want_voted: bool,
    bound: bool,
    progress: Callable[[int, int, int, int, float], object] | None = None,
) -> tuple[NDArray[int16], NDArray[float32], NDArray[uint8] | None]: ...
def vote(nnf: Nnf, image: Image, patch: int, error: ErrorMap | None = None, threads: int = 0) -> Image: ...
def isa() -> str: ...
def cuda_available() -> bool: ...
