"""How the processes that torchrun started find each other."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

from diffsynth.runtime import Runtime
from diffsynth.world import World


def launched() -> World:
    """What torchrun's variables say of this process."""
    return World(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


@contextmanager
def joined(runtime: Runtime, *, together: bool) -> Iterator[World]:
    """The job's processes, connected while the block runs; `together` says whether its work is shared at all."""
    world = launched()
    if world.size == 1 or not together:
        yield World()
        return
    import torch.distributed as dist

    runtime.take_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group(runtime.distributed_backend())
    yield world
    # Only after an orderly end: where one process failed, torchrun ends the others, and a barrier would wait for ever.
    # Whatever still holds connections must be gone first, or gloo aborts now and then while it tears them down.
    world.wait()
    gc.collect()
    dist.destroy_process_group()
