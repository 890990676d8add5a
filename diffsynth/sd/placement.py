"""Where networks live: on the device during a clip's work, or only while they compute."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffsynth.sd.memory import MemoryMode

HOST = torch.device("cpu")


@dataclass(frozen=True)
class Placement:
    """The device and precision of the networks, which wait on the host."""

    device: torch.device
    dtype: torch.dtype
    mode: MemoryMode = "auto"

    def tensor(self, values: Tensor) -> Tensor:
        placed = values.to(self.device, self.dtype)
        return placed.contiguous(memory_format=torch.channels_last) if placed.ndim == 4 else placed

    @contextmanager
    def session(self, networks: Sequence[Any]) -> Iterator[None]:
        """The networks on the device for the work on one clip; afterwards the device is free for processors."""
        if self.device == HOST or self.mode == "low":
            yield
            return
        try:
            for network in networks:
                network.to(self.device)
            yield
        finally:
            for network in networks:
                network.to(HOST)

    @contextmanager
    def present(self, network: Any) -> Iterator[None]:
        """One network on the device."""
        if self.device == HOST or self.mode == "auto":
            yield
            return
        try:
            yield network.to(self.device)
        finally:
            network.to(HOST)
