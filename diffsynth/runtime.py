"""Where and how numbers are computed: device, precision, threads, and seeded generators that depend on nothing else.

This is the only file that knows device names; torch is imported when a device is asked for, not before.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from diffsynth.errors import UnavailableError
from diffsynth.world import World

if TYPE_CHECKING:
    import numpy
    import torch

DeviceName = Literal["auto", "cuda", "mps", "cpu"]
PrecisionName = Literal["auto", "float32", "float16", "bfloat16"]
OUT_OF_MEMORY = (
    "Out of memory: not even one frame, with the frames that it attends to, fits. "
    'Use smaller frames, a shorter "combine_pattern", "halo": 1, or "memory": "low".'
)


@dataclass(frozen=True)
class Runtime:
    """What a task is built for. `resolve` turns `auto` into what this machine has."""

    device: DeviceName = "auto"
    dtype: PrecisionName = "auto"
    threads: int | None = None
    world: World = field(default_factory=World)
    """The processes that share the work, this one among them."""

    def torch_device(self) -> "torch.device":
        """The device that networks run on; asking for one that isn't there is an error, never a silent fallback."""
        import torch

        there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
        if self.device == "auto":
            return torch.device(next(name for name, present in there.items() if present))
        if not there[self.device]:
            present = ", ".join(name for name, each in there.items() if each)
            raise UnavailableError(
                f'"device" is "{self.device}", but torch {torch.__version__} finds none here (there is: {present}). '
                'Set "device": "auto", or install the torch build for that device.'
            )
        return torch.device(self.device)

    def torch_dtype(self) -> "torch.dtype":
        """The precision of the networks: half on CUDA, full elsewhere, unless a config says otherwise."""
        import torch

        if self.dtype == "auto":
            return torch.float16 if self.torch_device().type == "cuda" else torch.float32
        named = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
        return named[self.dtype]

    def take_device(self, number: int) -> None:
        """Use the device of this number, where there are several: each process of a machine has its own."""
        import torch

        if self.torch_device().type == "cuda":
            torch.cuda.set_device(number)

    def distributed_backend(self) -> str:
        """How processes speak with each other; tensors on the CPU go over gloo everywhere."""
        return "cpu:gloo,cuda:nccl" if self.torch_device().type == "cuda" else "gloo"

    def release_memory(self) -> None:
        """Give the memory that torch keeps for later use back to the device, after a network was dropped."""
        import torch

        if self.torch_device().type == "cuda":
            torch.cuda.empty_cache()

    def free_memory(self) -> int:
        """Bytes that are free on the device, or on this machine within what its container allows."""
        import torch

        if self.torch_device().type == "cuda":
            # What torch keeps of the clip before is not free to others, but is to us.
            kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
            return int(torch.cuda.mem_get_info()[0] + kept)
        return free_host_memory()

    def thread_count(self) -> int:
        """Threads for native code: as many as were asked for, else as many cores as this process may use."""
        return self.threads or available_cores()


def free_host_memory() -> int:
    """Bytes that this process may still take. Where the system does not tell, a guess that suits a small machine."""
    found = [_meminfo("MemAvailable"), _control_group()]
    return min((each for each in found if each is not None), default=4 * 10**9)


def _meminfo(name: str) -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)


def _control_group(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What a container's limit leaves."""
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = (folder / "memory.current").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return None if limit == "max" else max(int(limit) - int(used), 0)


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums over another number of threads round differently; what is computed by one is the same everywhere."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether an error says that the device, or this machine, has no more memory."""
    import torch

    if isinstance(problem, torch.OutOfMemoryError | MemoryError):
        return True
    return "not enough memory" in str(problem) or "can't allocate memory" in str(problem)


@contextmanager
def out_of_memory_told() -> Iterator[None]:
    """Say what to do where a single frame doesn't fit."""
    try:
        yield
    except (RuntimeError, MemoryError) as problem:
        if not is_out_of_memory(problem):
            raise
        raise UnavailableError(OUT_OF_MEMORY) from problem


def available_cores() -> int:
    """Cores that this process may run on, which in a container or under SLURM are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def derive_seed(seed: int, *keys: int | str) -> int:
    """A 63-bit seed for one use, named by `keys`.

    Draws keyed in this way depend neither on the order of the work nor on how it was split up.
    """
    text = "\0".join(map(str, (seed, *keys)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(seed: int, *keys: int | str) -> "numpy.random.Generator":
    import numpy as np

    return np.random.Generator(np.random.Philox(derive_seed(seed, *keys)))


def torch_generator(seed: int, *keys: int | str) -> "torch.Generator":
    """On the CPU whatever the device, so that a seed means the same noise everywhere."""
    import torch

    return torch.Generator("cpu").manual_seed(derive_seed(seed, *keys))
