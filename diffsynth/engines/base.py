"""What every patch-matching engine does, whatever computes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(H, W, C) or (H, W), 8 bits."""

Nnf = NDArray[np.int16]
"""Nearest-neighbour field `nnf_yx`, (H, W, 2): for each target pixel the (row, column) of its match in the source."""

ErrorMap = NDArray[np.float32]
"""(H, W): the energy of each target pixel's match; lower is better."""

Pair = tuple[int, int]
"""(source, target): indices of two frames; the target is painted from the source."""

Init = Literal["random", "identity"] | Sequence[Nnf]
"""Where a search starts: anywhere, at the same place, or from one earlier NNF for each pair."""


@dataclass(frozen=True)
class Matches:
    """The result for P pairs, in their order."""

    nnf_yx: NDArray[np.int16]
    """(P, H, W, 2) rows and columns in the source."""

    error: NDArray[np.float32]
    """(P, H, W) energies: guides, and the style where one was given."""

    voted: NDArray[np.uint8] | None = None
    """(P, H, W, C) targets painted from the styles, if styles were given."""


FrameT = TypeVar("FrameT")


class Engine(Protocol[FrameT]):
    """A patch matcher with its settings. The same arguments give the same bytes, alone or in a batch."""

    def frame(self, guides: Sequence[Image]) -> FrameT:
        """What the engine keeps of one frame, made once and used in any number of pairs."""

    def estimate(
        self,
        pairs: Sequence[Pair],
        guides: Sequence[FrameT] | Mapping[int, FrameT],
        styles: Sequence[Image] | Mapping[int, Image] | None = None,
        init: Init | None = None,
    ) -> Matches:
        """Match every pair; `styles[source]` joins the search and is voted into the target."""

    def vote(self, nnf_yx: Nnf, image: Image, error: ErrorMap | None = None) -> Image:
        """Paint the target from an image that lies over the source; with `error`, bad matches count for less."""
