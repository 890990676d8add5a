"""The endless sequence of training examples: example g is the same whoever asks for it, and whatever came before.

In epoch e the set's clips come in an order drawn from (seed, e). Everything else of example g – window, crop, flip, the
pictures beside it – is drawn from (seed, g).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffsynth.errors import MediaError
from diffsynth.runtime import numpy_generator
from diffsynth.training.data.example import ClipSet, Drawn, Trouble, Unusable

MOST_TRIES = 64
"""Clips in a row that may turn out unusable. One that is tried stands at most once among them."""


@dataclass(frozen=True)
class Example:
    """One clip and the pictures beside it."""

    index: int
    """Its place g in the sequence."""
    number: int
    """Which clip of the set it is."""
    pixels: NDArray[Any]
    """(F + I, H, W, C): the clip's frames, then the pictures."""
    labels: tuple[int | None, ...]
    """Of the clip, then of each picture."""
    captions: tuple[str | None, ...]
    troubles: tuple[Trouble, ...] = ()
    """Files that this example would have shown, and that were passed over."""


@dataclass(frozen=True)
class Stream:
    """Examples of a set, with `images` pictures beside each clip. Picklable."""

    clips: ClipSet
    seed: int
    images: int = 0
    shuffle: bool = True

    def __getitem__(self, index: int) -> Example:
        chance = numpy_generator(self.seed, "example", index)
        troubles: list[Trouble] = []
        epoch, place = divmod(index, len(self.clips))
        number, drawn = self._usable(epoch, place, chance, troubles)
        beside = [self._picture(chance, troubles) for _ in range(self.images)]
        return Example(
            index,
            number,
            np.concatenate([drawn.pixels, *(each.pixels for each in beside)]),
            (drawn.label, *(each.label for each in beside)),
            (drawn.caption, *(each.caption for each in beside)),
            tuple(troubles),
        )

    def _usable(
        self, epoch: int, place: int, chance: np.random.Generator, troubles: list[Trouble]
    ) -> tuple[int, Drawn]:
        """The clip at a place of an epoch; where it can't be used, the next one of the epoch's order that can."""
        total = len(self.clips)
        for step in range(min(total, MOST_TRIES)):
            number = self._order(epoch, (place + step) % total)
            try:
                return number, self.clips.clip(number, chance)
            except Unusable as problem:
                troubles.append(problem.trouble)
        raise no_usable(troubles)

    def _picture(self, chance: np.random.Generator, troubles: list[Trouble]) -> Drawn:
        for _ in range(MOST_TRIES):
            try:
                return self.clips.image(int(chance.integers(self.clips.picture_count)), chance)
            except Unusable as problem:
                troubles.append(problem.trouble)
        raise no_usable(troubles[-MOST_TRIES:])

    def _order(self, epoch: int, place: int) -> int:
        return int(_permutation(self.seed, epoch, len(self.clips))[place]) if self.shuffle else place


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, total: int) -> NDArray[np.int64]:
    return numpy_generator(seed, "epoch", epoch).permutation(total)


def no_usable(troubles: list[Trouble]) -> MediaError:
    shown = "\n".join(f"  {each.path}: {each.reason}" for each in troubles[:3])
    advice = (
        'Where clips are too short, ask for fewer "frames", a smaller "interval", or set "short" to "loop" or "hold".'
        if any(each.too_short for each in troubles)
        else "Bring whole files, or name another folder."
    )
    return MediaError(f"None of {len(troubles)} clips in a row can be used; the first:\n{shown}\n{advice}")
