"""Patch-matching engines: they find, for every pixel of one frame, the patch of another frame that looks most alike.

`base` says what every engine does; `native` is this project's own one, in C++ and CUDA; `binary` runs a program of the
user's; `pytorch` has the seed's own error.
"""

ENGINES = {
    "native": "In this process: C++ for any CPU, CUDA where there is a device.",
    "Ebsynth": "A program of yours, `ebsynth` or `ebsynth_nnf`, that bin_path names.",
    "Pytorch": "The seed's own error, in torch: slow without a GPU.",
}
"""The engines by the names that configs use."""
