"""Patch-matching engines: they find, for every pixel of one frame, the patch of another frame that looks most alike.

`base` says what every engine does; `native` is this project's own one, in C++ and CUDA.
"""

ENGINES = {
    "native": "The engine in this process: C++ for any CPU, CUDA where there is a device.",
    "Ebsynth": "A program that `bin_path` names; without one, the engine in this process.",
    "Pytorch": "The seed's search in torch, slow; for comparison.",
}
