"""Which frames go through the networks together. Recorded, since a network's last bits hang on its batch."""

from bisect import bisect_right
from collections.abc import Callable

from diffsynth.errors import UnavailableError
from diffsynth.runtime import OUT_OF_MEMORY


class ChunkPlan:
    """Cuts a clip into chunks. A chunk that turns out too large is halved for good; `record` hears of every change."""

    def __init__(self, bounds: list[int], record: Callable[[list[int]], None]) -> None:
        self._bounds = bounds
        self._record = record

    @classmethod
    def even(cls, count: int, size: int, record: Callable[[list[int]], None]) -> "ChunkPlan":
        """As few chunks of at most `size` frames as there can be, all about equally long."""
        chunks = -(-count // size)
        bounds = [count * number // chunks for number in range(chunks + 1)]
        record(bounds)
        return cls(bounds, record)

    @property
    def count(self) -> int:
        """Frames of the clip."""
        return self._bounds[-1]

    def starting(self, done: int) -> range:
        """The chunk that holds frame `done`."""
        place = bisect_right(self._bounds, done)
        return range(self._bounds[place - 1], self._bounds[place])

    def halve(self, chunk: range) -> None:
        if len(chunk) == 1:
            raise UnavailableError(OUT_OF_MEMORY)
        middle = chunk.start + (len(chunk) + 1) // 2
        self._bounds.insert(bisect_right(self._bounds, middle), middle)
        self._record(self._bounds)
