"""`Unet3D`, `GaussianDiffusion` and `Trainer` as the published package of video diffusion in PyTorch spells them.

A thin face: the network, the noise, the solvers, the reader and the training loop are those of the tasks `train` and
`sample`, and what is trained here can be drawn from there.
"""

from diffsynth.models.unet3d import Unet3D
from diffsynth.video_diffusion.gaussian import GaussianDiffusion
from diffsynth.video_diffusion.trainer import Trainer

__all__ = ["GaussianDiffusion", "Trainer", "Unet3D"]
