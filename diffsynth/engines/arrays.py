"""What callers pass as pixels, as an array that the engine can read in place: NumPy's own, or any that speaks DLPack.

A torch tensor on the CPU is read where it lies. Results are NumPy arrays; `torch.from_numpy` takes them without a copy.
"""

from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from diffsynth.engines.base import Image, Nnf
from diffsynth.errors import EngineError

_CPU = 1
"""DLPack's number for a device whose memory the CPU addresses."""


@runtime_checkable
class Tensor(Protocol):
    """An array of another library that shares its memory by DLPack."""

    def __dlpack__(self, *, stream: Any = ...) -> Any: ...

    def __dlpack_device__(self) -> tuple[Any, Any]: ...


Scalar = TypeVar("Scalar", bound=np.generic)
Pixels = Image | Tensor


def view(array: object, name: str, shape: str) -> NDArray[np.generic]:
    """The array itself, or another library's memory as one."""
    if isinstance(array, np.ndarray):
        return array
    if not isinstance(array, Tensor):
        raise EngineError(f"{name} is a {type(array).__name__}; it must be an array of shape {shape}.")
    try:
        kind, _ = array.__dlpack_device__()
        readable = np.from_dlpack(array) if int(kind) == _CPU else None
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise EngineError(f"{name} is a {type(array).__name__} that cannot be read in place: {error}") from error
    if readable is None:
        raise EngineError(f"{name} does not lie in the CPU's memory; move it there, as by tensor.cpu().")
    return readable


def readable_image(image: object, name: str) -> Image:
    """Bytes of (H, W, C) or (H, W). A repeated row or column has no stride of its own: it is copied."""
    pixels = view(image, name, "(H, W, C) or (H, W)")
    if pixels.dtype != np.uint8:
        raise EngineError(f"{name} is {pixels.dtype}; the engine takes uint8 pixels, 0 to 255.")
    repeated = any(stride == 0 and side > 1 for stride, side in zip(pixels.strides, pixels.shape, strict=True))
    return np.ascontiguousarray(pixels, np.uint8) if repeated else pixels.view(np.uint8)


def readable_images(images: object, name: str) -> list[Image]:
    """One image or several, each as `readable_image` has it."""
    several = [images] if isinstance(images, np.ndarray | Tensor) else list(images)  # type: ignore[call-overload]
    return [readable_image(image, f"{name} {number + 1}") for number, image in enumerate(several)]


def readable_start(nnf: object) -> Nnf:
    """An initial NNF, dense."""
    found = view(nnf, "estimate: an initial NNF", "(H, W, 2)")
    if found.dtype != np.int16 or found.ndim != 3 or found.shape[2] != 2:
        raise EngineError(
            f"estimate: an initial NNF is {found.dtype} of shape {found.shape}; "
            "it must be int16 (H, W, 2): row and column."
        )
    return np.ascontiguousarray(found, np.int16)
