"""Single pictures through the project's own stylization: what `demo.check` judges the model by."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import diffsynth  # noqa: F401  its guard lets diffusers be imported beside a torchvision that doesn't fit torch

# isort: split
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextModel

from diffsynth.arrays import ArrayWriter
from diffsynth.attention.cross_frame import attention
from diffsynth.diffusion.chunks import ChunkPlan
from diffsynth.diffusion.denoise import FIRST, denoise, reader
from diffsynth.diffusion.schedule import schedule
from diffsynth.diffusion.solvers import begin, solver
from diffsynth.processors.base import Stills, as_rgb
from diffsynth.progress import Progress
from diffsynth.sd.control import ClipMaps, ControlBranch, embed_clip
from diffsynth.sd.layout import LATENT_SCALE, CheckpointLayout, read_checkpoint
from diffsynth.sd.load import channels_last, load_network, load_tokenizer
from diffsynth.sd.networks import Networks
from diffsynth.sd.noise import Noise
from diffsynth.sd.placement import Placement
from diffsynth.sd.predict import Neighbourhood, Predictor
from diffsynth.sd.text import Script, encode_prompts
from diffsynth.sd.vae import Vae
from diffsynth.tracks import Track

CHUNK = 8


@dataclass(frozen=True)
class Studio:
    layout: CheckpointLayout
    tokenizer: object
    encoder: CLIPTextModel
    networks: Networks
    vae: Vae

    @classmethod
    def open(cls, folder: Path, net: str = "controlnet_edges") -> "Studio":
        layout = read_checkpoint(folder)
        placement = Placement(torch.device("cpu"), torch.float32)

        def load(kind: type, part: str) -> torch.nn.Module:
            return channels_last(load_network(kind, folder / part, placement.dtype))

        branch = ControlBranch.of(load(ControlNetModel, net), placement, Track.of(1.0), 0.0, 1.0)
        return cls(
            layout,
            load_tokenizer(folder / "tokenizer"),
            load_network(CLIPTextModel, folder / "text_encoder", placement.dtype),
            Networks.linked(load(UNet2DConditionModel, "unet"), [branch], attention("auto"), placement),
            Vae(load(AutoencoderKL, "vae"), placement),
        )

    def __call__(
        self,
        prompt: str,
        conditions: NDArray[np.uint8],
        *,
        steps: int = 8,
        guidance: float = 2.5,
        seed: int = 0,
        strength: float = 1.0,
    ) -> NDArray[np.uint8]:
        """One picture for each of the (N, H, W) conditions, all from one noise, none of which sees another."""
        count, height, width = conditions.shape
        branch = replace(self.networks.branches[0], scale=Track.of(strength))
        course = schedule("auto", self.layout.scheduler, steps, "the demo model")
        noise = Noise((self.vae.channels, height // LATENT_SCALE, width // LATENT_SCALE), Track.of(seed))
        maps = ClipMaps(Stills([as_rgb(each) for each in conditions]), [])
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            predictor = Predictor(
                replace(self.networks, branches=(branch,)),
                (embed_clip(branch, maps, folder / "embedded", Progress()),),
                Script(encode_prompts(self.tokenizer, self.encoder, (("",), (prompt,))), (Track.of(0), Track.of(0))),
                Track.of(guidance),
                course,
                Neighbourhood("shared", (0,), 0, count),
                noise,
            )
            moved = solver(course.name, noise.of_step)
            with ArrayWriter(folder / "latents" / FIRST, (moved.slots, *noise.shape)) as writer:
                writer.append(begin(moved, torch.stack([noise.of(k) for k in range(count)])).numpy())
            plan = ChunkPlan.even(count, CHUNK, lambda bounds: None)
            latents = reader(denoise(folder / "latents", course, moved, predictor, plan, Progress()))(range(count))
            return np.stack([self.vae.decode(latent) for latent in latents])
