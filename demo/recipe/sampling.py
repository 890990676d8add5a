"""Plain sampling with a control net, frame by frame: what the model draws before the engine steadies it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from transformers import CLIPTextModel, CLIPTokenizer

from demo.recipe.models import DOWN, TOKENS


@dataclass(frozen=True)
class Sampler:
    tokenizer: CLIPTokenizer
    text: CLIPTextModel
    unet: UNet2DConditionModel
    net: ControlNetModel
    vae: AutoencoderKL
    scheduler: DDIMScheduler

    @classmethod
    def load(cls, folder: Path, net: str = "controlnet_edges") -> "Sampler":
        return cls(
            CLIPTokenizer.from_pretrained(folder / "tokenizer"),
            CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).eval(),
            UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32).eval(),
            ControlNetModel.from_pretrained(folder / net, torch_dtype=torch.float32).eval(),
            AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32).eval(),
            DDIMScheduler.from_pretrained(folder / "scheduler"),
        )

    @torch.no_grad()
    def __call__(
        self,
        prompts: list[str],
        conditions: NDArray[np.uint8],
        *,
        steps: int = 8,
        guidance: float = 2.5,
        seed: int = 0,
        strength: float = 1.0,
        unlike: str = "",
    ) -> NDArray[np.uint8]:
        """One picture per prompt; `conditions` is (N, H, W). All share one noise, as the frames of a clip do."""
        count, height, width = conditions.shape
        options = {"padding": "max_length", "max_length": TOKENS, "truncation": True, "return_tensors": "pt"}
        words = self.text(self.tokenizer([unlike] * count + prompts, **options).input_ids)[0]
        control = torch.from_numpy(conditions).float().div(255)[:, None].repeat(2, 3, 1, 1)
        generator = torch.Generator().manual_seed(seed)
        shape = (1, self.unet.config.in_channels, height // DOWN, width // DOWN)
        x = torch.randn(shape, generator=generator).repeat(count, 1, 1, 1)
        self.scheduler.set_timesteps(steps)
        for t in self.scheduler.timesteps:
            both = x.repeat(2, 1, 1, 1)
            down, middle = self.net(both, t, words, control, conditioning_scale=strength, return_dict=False)
            residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
            without, with_words = self.unet(both, t, words, **residuals).sample.chunk(2)
            x = self.scheduler.step(without + guidance * (with_words - without), t, x).prev_sample
        pictures = self.vae.decode(x / self.vae.config.scaling_factor).sample.clamp(-1, 1)
        return ((pictures + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
