"""The project's own engine. NNFs of a clip's guides are found once and can then paint any number of styles by voting.

    frames = [Frame(image) for image in clip]
    matches = estimate([(0, 1), (2, 1)], frames, patch=11)
    painted = vote(matches.nnf_yx, [style0, style2], patch=11)

Images (NumPy's, or CPU tensors that speak DLPack) are read in place, without copies, as long as a pixel's channels lie
side by side; the interpreter's lock is released while the engine works. The same arguments give the same bytes with any
number of threads, in any batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diffsynth.engines.arrays import Pixels, Tensor, readable_image, readable_images, readable_start, view
from diffsynth.engines.base import ErrorMap, Image, Init, Matches, Nnf, Pair
from diffsynth.errors import EngineError, UnavailableError

Preset = Literal["video", "generic"]
Backend = Literal["auto", "cpu", "cuda"]
Trace = Callable[[int, int, int, int, float], object]
"""Called with pair, level (0 is the finest), round, sweep and the energy of all pixels after that sweep."""

_PRESETS: dict[str, int] = {"generic": 0, "video": 1}
_BACKENDS: dict[str, int] = {"auto": 0, "cpu": 1, "cuda": 2}
_STARTS: dict[str, int] = {"preset": 0, "random": 1, "identity": 2}


def _native() -> ModuleType:
    try:
        from diffsynth.engines import _native as module
    except ImportError as error:
        raise UnavailableError(
            f"The patch-matching engine is not built, or was built for another Python ({error}). "
            "Build it with `make engine`, or install the package with `pip install .`."
        ) from error
    return module


class Frame:
    """The guides of one frame with their image pyramid: built once, then source or target of any number of pairs.

    `guides` is one image or several of one size, (H, W, C) or (H, W), at most 24 channels in all. They are copied.
    """

    def __init__(self, guides: Pixels | Sequence[Pixels]) -> None:
        images = readable_images(guides, "guide")
        with _engine_errors():
            self._handle = _native().Frame(images)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self._handle.height, self._handle.width


@dataclass(frozen=True)
class Settings:
    """How to match. `None` and 0 leave a value to the preset."""

    preset: Preset = "video"
    """`video`: two frames of one clip, borders replicated. `generic`: any two images, sources inside the border."""
    patch: int = 5
    """Side of the square patch, odd, 3 to 33."""
    weights: tuple[float, ...] | None = None
    """One for each guide of a frame; 1 / number of guides each."""
    style_weight: float = 1.0
    uniformity: float | None = None
    """Price of using a source patch more often than its share; 3500 for `generic`, 0 for `video`."""
    levels: int = 0
    rounds: int = 0
    """Of search and vote, at each level."""
    sweeps: int = 0
    """Of propagation and random search, in each round."""
    stop_threshold: int = 5
    """Patches whose voted colours moved by no more rest for a round; -1: never."""
    extra_pass_3x3: bool = False
    error_weighted: bool = False
    """Whether patches that match badly count for less in `Matches.voted`."""
    backend: Backend = "auto"
    threads: int = 0
    """0: all cores that the process may use."""
    seed: int = 0
    bound: bool = True
    """Reject candidates by an exact lower bound; off only to show that it changes nothing."""


@dataclass(frozen=True)
class Masks:
    """Limits of the search, shared by all pairs of a call. Each is a (H, W) image; `None`: no limit."""

    source: Pixels | None = None
    """Where 0, no source patch is centred."""
    target: Pixels | None = None
    """Where 0, the start is kept."""
    modulation: Sequence[Pixels | None] | None = None
    """For each guide: its weight is scaled by value / 255 at that target pixel."""


def estimate(
    pairs: Sequence[Pair],
    guides: Sequence[Frame] | Mapping[int, Frame],
    styles: Sequence[Pixels] | Mapping[int, Pixels] | None = None,
    init: Init | None = None,
    *,
    settings: Settings | None = None,
    masks: Masks | None = None,
    trace: Trace | None = None,
    preset: Preset | None = None,
    patch: int | None = None,
    weights: Sequence[float] | None = None,
    seed: int | None = None,
    threads: int | None = None,
) -> Matches:
    """Match every (source, target) pair of the frames in `guides`, all targets of one size.

    With `styles`, the source's style takes part in the search and is voted into `Matches.voted`. `init` starts the
    search from noise, from the same place, or from one NNF for each pair; by default the preset decides. The last five
    arguments override fields of `settings`.
    """
    chosen = _override(settings or Settings(), preset=preset, patch=patch, weights=weights, seed=seed, threads=threads)
    if not pairs:
        raise EngineError("estimate: there are no pairs; give at least one (source, target).")
    _check_settings(chosen)
    limits = _checked_masks(masks or Masks())
    for pair in pairs:
        _check_frames(pair, guides)
    painted = [None if styles is None else readable_image(styles[source], "a style") for source, _ in pairs]
    starts: list[Nnf | None] = [None] * len(pairs)
    start = "preset"
    if isinstance(init, str):
        start = init
        if start not in {"random", "identity"}:
            raise EngineError(f'estimate: init is "{init}"; allowed are "random", "identity" or one NNF for each pair.')
    elif init is not None:
        if len(init) != len(pairs):
            raise EngineError(f"estimate: {len(init)} initial NNFs for {len(pairs)} pairs; give one for each.")
        starts = [readable_start(nnf) for nnf in init]
    count = len(pairs)
    with _engine_errors():
        nnf_yx, error, voted = _native().estimate(
            [guides[source]._handle for source, _ in pairs],  # noqa: SLF001 - the handle is this module's own
            [guides[target]._handle for _, target in pairs],  # noqa: SLF001
            painted,
            starts,
            [limits.source] * count,
            [limits.target] * count,
            [list(limits.modulation or [])] * count,
            list(chosen.weights or ()),
            preset=_PRESETS[chosen.preset],
            backend=_BACKENDS[chosen.backend],
            start=_STARTS[start],
            patch=chosen.patch,
            levels=chosen.levels,
            rounds=chosen.rounds,
            sweeps=chosen.sweeps,
            stop_threshold=chosen.stop_threshold,
            extra_pass=chosen.extra_pass_3x3,
            error_weighted=chosen.error_weighted,
            threads=chosen.threads,
            seed=chosen.seed,
            uniformity=chosen.uniformity,
            style_weight=chosen.style_weight,
            want_voted=styles is not None,
            bound=chosen.bound,
            progress=trace,
        )
    return Matches(nnf_yx, error, voted)


def vote(
    nnf_yx: NDArray[np.int16] | Tensor,
    image: Pixels | Sequence[Pixels],
    *,
    patch: int,
    error: NDArray[np.float32] | Tensor | None = None,
    threads: int = 0,
) -> Image:
    """Paint the target: each pixel is the mean of what the patches over it bring from `image`, laid over the source.

    One NNF (H, W, 2) and one image give (H, W, C); a batch (P, H, W, 2) and P images give (P, H, W, C). With `error`,
    in the NNF's leading shape, patches that match badly count for less.
    """
    field = view(nnf_yx, "vote: the NNF", "(H, W, 2) or (P, H, W, 2)")
    weights = None if error is None else view(error, "vote: the error map", "of the NNF")
    if field.ndim == 4:
        several = view(image, "vote: the images", "(P, H, W, C)") if isinstance(image, Tensor) else image
        images = [readable_image(one, "an image") for one in several]
        if not len(field):
            raise EngineError("vote: there is no NNF; give at least one.")
        if len(images) != len(field):
            raise EngineError(f"vote: {len(field)} NNFs, but {len(images)} images; give one for each.")
        if weights is not None and len(weights) != len(field):
            raise EngineError(f"vote: {len(field)} NNFs, but {len(weights)} error maps; give one for each.")
        each = [None] * len(field) if weights is None else list(weights)
        pairs = zip(field, images, each, strict=True)
        return np.stack([_vote_one(one, source, patch, weight, threads) for one, source, weight in pairs])
    return _vote_one(field, readable_image(image, "the image"), patch, weights, threads)


def _vote_one(
    nnf_yx: NDArray[np.generic], image: Image, patch: int, error: NDArray[np.generic] | None, threads: int
) -> Image:
    if nnf_yx.ndim != 3 or nnf_yx.shape[2] != 2 or nnf_yx.dtype != np.int16:
        raise EngineError(
            f"vote: the NNF is {nnf_yx.dtype} of shape {nnf_yx.shape}; it must be int16, (H, W, 2) or (P, H, W, 2)."
        )
    weights = None if error is None else np.ascontiguousarray(error, dtype=np.float32)
    with _engine_errors():
        voted: Image = _native().vote(np.ascontiguousarray(nnf_yx), image, patch, weights, threads)
    return voted if image.ndim == 3 else voted[..., 0]


def cuda_available() -> bool:
    """Whether the engine's CUDA part is there and sees a device."""
    return bool(_native().cuda_available())


def instruction_set() -> str:
    """What the CPU's search uses: `avx512`, `avxvnni`, `avx2` or `portable`; EBSYNTH_ISA forces one."""
    with _engine_errors():
        return str(_native().isa())


@dataclass(frozen=True)
class NativeEngine:
    """This engine behind the `Engine` protocol."""

    settings: Settings = Settings()

    def frame(self, guides: Sequence[Image]) -> Frame:
        """What the engine keeps of one frame, made once and used in any number of pairs."""
        return Frame(guides)

    def estimate(
        self,
        pairs: Sequence[Pair],
        guides: Sequence[Frame] | Mapping[int, Frame],
        styles: Sequence[Image] | Mapping[int, Image] | None = None,
        init: Init | None = None,
    ) -> Matches:
        """Match every pair; `styles[source]` joins the search and is voted into the target."""
        return estimate(pairs, guides, styles, init, settings=self.settings)

    def vote(self, nnf_yx: Nnf, image: Image, error: ErrorMap | None = None) -> Image:
        """Paint the target from an image that lies over the source; with `error`, bad matches count for less."""
        return vote(nnf_yx, image, patch=self.settings.patch, error=error, threads=self.settings.threads)


class _engine_errors:  # noqa: N801 - reads as a statement: with _engine_errors()
    """The module raises plain Python errors; the package's users catch its own."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, (ValueError, TypeError)):
            raise EngineError(f"The patch-matching engine: {error}") from error
        if type(error) is RuntimeError:
            raise UnavailableError(f"The patch-matching engine: {error}") from error


def _override(
    settings: Settings,
    *,
    preset: Preset | None,
    patch: int | None,
    weights: Sequence[float] | None,
    seed: int | None,
    threads: int | None,
) -> Settings:
    if preset is not None:
        settings = replace(settings, preset=preset)
    if patch is not None:
        settings = replace(settings, patch=patch)
    if weights is not None:
        settings = replace(settings, weights=tuple(weights))
    if seed is not None:
        settings = replace(settings, seed=seed)
    return settings if threads is None else replace(settings, threads=threads)


def _checked_masks(masks: Masks) -> Masks:
    maps = {"source": masks.source, "target": masks.target}
    readable = {name: None if mask is None else readable_image(mask, f"the {name} mask") for name, mask in maps.items()}
    modulation = [None if one is None else readable_image(one, "a modulation") for one in masks.modulation or ()]
    return Masks(readable["source"], readable["target"], modulation)


def _check_frames(pair: Pair, guides: Sequence[Frame] | Mapping[int, Frame]) -> None:
    for frame in pair:
        if frame not in guides if isinstance(guides, Mapping) else not -len(guides) <= frame < len(guides):
            raise EngineError(f"estimate: the pair {pair} names frame {frame}, which is not among the guides.")


def _check_settings(settings: Settings) -> None:
    for name, value, known in (("preset", settings.preset, _PRESETS), ("backend", settings.backend, _BACKENDS)):
        if value not in known:
            raise EngineError(f'estimate: the {name} is "{value}"; known are {", ".join(known)}.')
    if not 0 <= settings.seed < 1 << 32:
        raise EngineError(f"estimate: the seed is {settings.seed}; it must be from 0 to {(1 << 32) - 1}.")
    if settings.uniformity is not None and settings.uniformity < 0:
        raise EngineError(f"estimate: the uniformity is {settings.uniformity:g}; it must not be negative.")
