"""Values that change over a clip: fixed at key frames; in between, a frame takes a share of the two around it."""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

Value = TypeVar("Value")
Other = TypeVar("Other")


@dataclass(frozen=True)
class Between(Generic[Value]):
    """What a frame takes: `share` of `after`, the rest of `before`."""

    before: Value
    after: Value
    share: float


@dataclass(frozen=True)
class Track(Generic[Value]):
    """`values` at the frames `keys`, which rise. Before the first key and behind the last one nothing changes."""

    keys: tuple[int, ...]
    values: tuple[Value, ...]
    shown: Sequence[int] | None = None
    """Where only some frames of the clip are rendered: which, in their order."""

    @classmethod
    def of(cls, value: "Value | Mapping[int, Value]") -> "Track[Value]":
        if isinstance(value, Mapping):
            return cls(tuple(sorted(value)), tuple(value[key] for key in sorted(value)))
        return cls((0,), (value,))

    @property
    def constant(self) -> bool:
        return all(value == self.values[0] for value in self.values)

    def among(self, shown: Sequence[int] | None) -> "Track[Value]":
        """The same track for a rendering of only these frames."""
        return replace(self, shown=shown)

    def between(self, frame: int) -> Between[Value]:
        place = frame if self.shown is None else self.shown[frame]
        number = bisect_right(self.keys, place) - 1
        if number < 0 or number == len(self.keys) - 1:
            value = self.values[max(number, 0)]
            return Between(value, value, 0.0)
        left, right = self.keys[number], self.keys[number + 1]
        return Between(self.values[number], self.values[number + 1], (place - left) / (right - left))

    def map(self, change: Callable[[Value], Other]) -> "Track[Other]":
        return Track(self.keys, tuple(change(value) for value in self.values), self.shown)


def number_at(track: Track[float], frame: int) -> float:
    """A number between its neighbours, on the straight line."""
    found = track.between(frame)
    # A value at a key is met exactly.
    return found.before if found.share == 0 else found.before + (found.after - found.before) * found.share


def steady_weights(share: float) -> tuple[float, float]:
    """Weights of two independent noises whose mixture keeps their variance, a quarter of a circle from one to the
    other."""
    return math.cos(share * math.pi / 2), math.sin(share * math.pi / 2)
