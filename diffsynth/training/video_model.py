"""A video diffusion model: everything that its weights need to be trained further, or to draw videos."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError

from diffsynth.config import ConfigModel, ModelRef
from diffsynth.diffusion.objective import DiffusionConfig
from diffsynth.errors import ModelError
from diffsynth.models import BackboneConfig, LatteConfig, VideoShape
from diffsynth.models.weights import differing
from diffsynth.runtime import Runtime, derive_seed
from diffsynth.training.autoencoders import require_same
from diffsynth.training.conditions import ConditionConfig, Conditioner, NoConditionConfig
from diffsynth.training.data.example import Size

if TYPE_CHECKING:
    from torch import Tensor, nn

    from diffsynth.diffusion.process import Objective
    from diffsynth.training.space import Space

SpaceName = Literal["pixel", "latent"]


class OtherNetwork(Exception):  # noqa: N818  whoever knows the weights' file says it in full
    """Weights that aren't those of the network that they are for."""


class VideoModelConfig(ConfigModel):
    """What a checkpoint says of itself."""

    size: Size
    """Side of the frames in pixels, or `[height, width]`."""
    frames: Annotated[int, Field(ge=1, le=4096)] = 16
    """Frames of a clip."""
    frame_channels: Literal[1, 3] = 3
    """1: grey clips; 3: colour."""
    space: SpaceName = "pixel"
    """`pixel`: the network works on frames; `latent`: on what `vae` makes of them."""
    vae: ModelRef | None = None
    """For `latent`: a run of `train_vae`, or an autoencoder in diffusers' layout, a folder or an id of the hub."""
    vae_sha256: str | None = None
    """By what its files are known that it was trained with."""
    backbone: BackboneConfig = LatteConfig()
    """The network."""
    condition: ConditionConfig = NoConditionConfig()
    """What the network is told beside the noisy video."""
    diffusion: DiffusionConfig = DiffusionConfig()
    """The noise, and what the network answers."""
    classes: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Names of the classes, in their order."""

    def build(self, runtime: Runtime, seed: int = 0, weights: "Mapping[str, Tensor] | None" = None) -> "VideoModel":
        """With the weights that training starts from, drawn from `seed`; or with a checkpoint's `weights`. These are
        compared before anything as large as the checkpoint says is made: `OtherNetwork`."""
        import torch

        space, conditioner = self._space(runtime), self.condition.build(runtime)

        def made() -> Any:
            return self.backbone.build(space.shape, conditioner.condition, learned_sigma=self.diffusion.learned_sigma)

        if weights is not None:
            with torch.device("meta"):
                expected = made().state_dict()
            if differences := differing(expected, weights):
                raise OtherNetwork("; ".join(differences))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "weights"))
            network = made()
        if weights is not None:
            network.load_state_dict(weights)
        return VideoModel(self, network.to(runtime.torch_device()), self.diffusion.build(), space, conditioner)

    def _space(self, runtime: Runtime) -> "Space":
        from diffsynth.training.space import PixelSpace, load_latent_space

        height, width = self.size
        if self.space == "pixel":
            shape = VideoShape(self.frames, self.frame_channels, height, width)
            return PixelSpace(shape, runtime.torch_device())
        if self.vae is None:
            raise ModelError(
                '"space" is "latent", but "vae" names no autoencoder. Add "vae": a folder or an id of the hub.'
            )
        if self.vae_sha256 is not None:
            require_same(self.vae, self.vae_sha256)
        return load_latent_space(self.vae, self.frames, self.frame_channels, height, width, runtime)


def described(facts: Any, where: str) -> VideoModelConfig:
    """The model that a checkpoint's own words describe."""
    try:
        return VideoModelConfig.model_validate(facts)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ModelError(
            f'{where}: this version does not understand what it says of itself ("{place}": {first["msg"]}).'
        ) from None


@dataclass(frozen=True)
class VideoModel:
    """A network with all that goes around it."""

    config: VideoModelConfig
    network: "nn.Module"
    objective: "Objective"
    space: "Space"
    conditioner: Conditioner


def from_saved_latents(model: VideoModel) -> VideoModel:
    """The same model, for clips that are given as what its autoencoder said of them."""
    from diffsynth.training.space import LatentSpace, SavedLatents

    assert isinstance(model.space, LatentSpace)
    return replace(model, space=SavedLatents(model.space))
