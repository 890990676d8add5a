"""How an autoencoder is trained: the key `"train"` of the task `train_vae`."""

from typing import Annotated, Literal

from pydantic import Field

from diffsynth.config import ExistingPath, OptionalPath
from diffsynth.training.settings import CourseSettings

SMALLEST_SIDE = 16
"""Frames with a shorter side shrink to nothing in the critic, and in VGG-16."""
Width = Annotated[int, Field(ge=8, multiple_of=8)]
Weight = Annotated[float, Field(ge=0, strict=False)]


class VaeTrainSettings(CourseSettings):
    """Batches, steps, the optimizer, what is asked of rebuilt frames, and what is kept and shown on the way."""

    reconstruction: Literal["l1", "l2"] = "l2"
    """Whether differences between frames and rebuilt ones count by their size or by their square."""
    kl_weight: Weight = 5e-6
    """Of the distance between a frame's latents and normal ones (Kullback–Leibler, summed over the latent)."""
    disc_start: Annotated[int, Field(ge=0)] | None = None
    """The step from which on a critic tells patches of real frames from rebuilt ones; left out, there is none."""
    disc_weight: Weight = 0.5
    """Of what the critic says."""
    disc_channels: Annotated[tuple[Width, ...], Field(strict=False, min_length=1)] = (64, 128, 256)
    """Channels of the critic's layers; each halves the frame."""
    disc_pretrained: OptionalPath = None
    """A critic to start from: an imported discriminator of VideoGeneration-PyTorch, which must have `disc_channels`."""
    lpips: Annotated[tuple[ExistingPath, ...], Field(strict=False)] = ()
    """Files of a perceptual distance (LPIPS on VGG-16): one TorchScript network that takes two batches of frames within
    [-1, 1]; or weights, in one file or in two (LPIPS's own `vgg.pth` and torchvision's VGG-16). None are fetched."""
    perceptual_weight: Weight = 1.0
    """Of the perceptual distance."""
    show_every: Annotated[int, Field(ge=0)] = 0
    """Steps between pictures of rebuilt frames in `reconstructions/`; 0: none."""
    show_frames: Annotated[int, Field(ge=1, le=64)] = 8
    """Frames on such a picture."""
