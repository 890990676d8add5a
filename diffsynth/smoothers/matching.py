"""Matches between the frames of one guide clip: found once, kept, and used for any number of styled clips."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Generic, TypeVar

from diffsynth.engines.base import Engine, Init, Nnf, Pair
from diffsynth.smoothers.base import Frames
from diffsynth.smoothers.match_cache import MatchCache, digest

BATCH = 8
"""Pairs that an engine gets at a time: enough for its threads, and few in memory."""

MOST_KEPT = 64
"""Frames; without this bound, memory would grow with a clip of small frames until it is full."""

T = TypeVar("T")


class Recent(Generic[T]):
    """What was made for the last `capacity` frames."""

    def __init__(self, make: Callable[[int], T], capacity: int) -> None:
        self._make = make
        self._capacity = capacity
        self._kept: OrderedDict[int, T] = OrderedDict()

    def __getitem__(self, position: int) -> T:
        if position in self._kept:
            self._kept.move_to_end(position)
        else:
            self._kept[position] = self._make(position)
            while len(self._kept) > self._capacity:
                self._kept.popitem(last=False)
        return self._kept[position]


def capacity(frames: Frames, bytes_per_pixel: int, budget: int = 256 << 20) -> int:
    """How many frames' worth of something are kept: a window of ±30, or what fits the memory set aside for it."""
    return min(max(2 * BATCH, budget // (frames.height * frames.width * bytes_per_pixel)), MOST_KEPT)


class Matcher:
    """NNFs of pairs of guide frames.

    `fingerprint` names everything but the frames that decides an NNF; without a cache each is found whenever it is
    asked for. With `style`, the source's styled frame joins the search; with `start`, a pair's search begins with that.
    """

    def __init__(
        self,
        guide: Frames,
        engine: Engine,  # type: ignore[type-arg]
        fingerprint: str,
        cache: MatchCache | None,
        init: Init | None = None,
        style: Frames | None = None,
        start: Callable[[Pair], Nnf] | None = None,
    ) -> None:
        self.guide = Recent(guide.__getitem__, capacity(guide, 3))
        self.engine = engine
        self.found = 0
        """Estimations made so far; what came from the cache doesn't count."""
        self._fingerprint = fingerprint
        self._cache = cache
        self._init = init
        self._style = style
        self._start = start
        self._handles = Recent(lambda t: engine.frame([self.guide[t]]), capacity(guide, 12))
        self._digests: dict[int, str] = {}

    def nnfs(self, pairs: Sequence[Pair]) -> Iterator[Nnf]:
        """The NNF of each (source, target), in their order."""
        waiting = iter(pairs)
        while batch := list(islice(waiting, BATCH)):
            known = {pair: self._known(pair) for pair in batch}
            missing = [pair for pair, nnf in known.items() if nnf is None]
            if missing:
                handles = {t: self._handles[t] for t in sorted({each for pair in missing for each in pair})}
                style = self._style
                styles = None if style is None else {source: style[source] for source, _ in missing}
                init = self._init if self._start is None else [self._start(pair) for pair in missing]
                matches = self.engine.estimate(missing, handles, styles, init)
                self.found += len(missing)
                for pair, nnf in zip(missing, matches.nnf_yx, strict=True):
                    known[pair] = nnf
                    if self._cache is not None:
                        self._cache.put(self._name(pair), nnf)
            for pair in batch:
                nnf = known[pair]
                assert nnf is not None
                yield nnf

    def _known(self, pair: Pair) -> Nnf | None:
        return self._cache.get(self._name(pair)) if self._cache is not None else None

    def _name(self, pair: Pair) -> str:
        style = () if self._style is None else (self._style[pair[0]].tobytes(),)
        return digest(self._fingerprint, *(self._digest(t) for t in pair), *style)

    def _digest(self, t: int) -> str:
        if t not in self._digests:
            self._digests[t] = digest(str(self.guide[t].shape), self.guide[t].tobytes())
        return self._digests[t]
