"""A small world that the project paints itself, and the recipe of the tiny Stable Diffusion that is trained on it."""

import diffsynth  # noqa: F401 - its guard lets diffusers be imported beside a torchvision that doesn't fit torch
