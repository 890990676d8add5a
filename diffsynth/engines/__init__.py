"""Patch-matching engines: they find, for every pixel of one frame, the patch of another frame that looks most alike.

`base` says what every engine does; `native` is this project's own one, in C++ and CUDA.
"""

ENGINES = {"native": "In this process: C++ for any CPU, CUDA where there is a device."}
"""The engines by the names that configs use."""
