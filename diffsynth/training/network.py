"""The network as training calls it: spread over processes, in its precision, compiled, frugal with memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from diffsynth.errors import ConfigError
from diffsynth.training.settings import TrainSettings
from diffsynth.world import World

PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Trained:
    """Calls the network, and decides when gradients are summed up over the processes.

    `network` keeps its own names for its weights whatever is done here.
    """

    def __init__(self, network: nn.Module, settings: TrainSettings, world: World, device: torch.device) -> None:
        self.network, self._device = network, device
        self._dtype = PRECISIONS[settings.precision]
        if settings.gradient_checkpointing:
            if not hasattr(network, "checkpointing"):
                raise ConfigError(['"train.gradient_checkpointing" is on, but this backbone has none. Leave it out.'])
            network.checkpointing = True  # type: ignore[assignment]  # a plain attribute of the backbone
        if settings.compile:
            network.compile()
        self._sharded = world.size > 1 and settings.sharding == "full"
        self._callable: Any = network
        if self._sharded:
            _spread(network)
        elif world.size > 1:
            own = [device] if device.type != "cpu" else None
            self._callable = nn.parallel.DistributedDataParallel(network, device_ids=own)
        self._alone = world.size == 1

    def __call__(
        self, x: Tensor, t: Tensor, cond: Tensor | None, image_frames: int, focus: Tensor | None = None
    ) -> Tensor:
        """`focus` is for networks that can see each frame of a clip by itself."""
        more = () if focus is None else (focus,)
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            said: Tensor = self._callable(x, t, cond, image_frames, *more)
        return said.float()

    def forget_gathered(self) -> None:
        """After the weights were exchanged from outside: what was brought together of spread-out ones, and is kept for
        the way back that drawing doesn't take, must not be learned with."""
        if self._sharded:
            self._callable.reshard()

    @contextmanager
    def summing(self, *, last: bool) -> Iterator[None]:
        """Around the forward and backward pass of each part of a batch: only its last one speaks with the others."""
        if self._sharded:
            self._callable.set_requires_gradient_sync(last)
        if last or self._alone or self._sharded:
            yield
        else:
            with self._callable.no_sync():
                yield


def _spread(network: nn.Module) -> None:
    from torch.distributed.fsdp import fully_shard

    for name, child in network.named_children():
        if name == "blocks" and isinstance(child, nn.ModuleList):
            for block in child:
                fully_shard(block)
    fully_shard(network)
