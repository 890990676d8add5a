"""Videos and pictures from text by a published Latte: diffusers' `LattePipeline`, one network in memory at a time."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffsynth.config.fields import hub_id
from diffsynth.errors import MissingFileError, ModelError
from diffsynth.hub import snapshot
from diffsynth.models.base import TextScheduler
from diffsynth.models.positions import temporal_table
from diffsynth.runtime import Runtime, torch_generator
from diffsynth.sd.folders import read_settings
from diffsynth.sd.load import load_network

KINDS: dict[TextScheduler, str] = {
    "ddpm": "DDPMScheduler",
    "ddim": "DDIMScheduler",
    "pndm": "PNDMScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_ancestral": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler",
    "dpmpp_2s": "DPMSolverSinglestepScheduler",
    "deis": "DEISMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
}
LEARNED = ("learned", "learned_range")
TEMPORAL_DECODER = "vae_temporal_decoder"
"""The folder of the decoder that sees several frames, beside the others."""
PATTERNS = ("model_index.json", "*/*.json", "*/*.safetensors", "tokenizer/*")

Video = NDArray[np.uint8]
"""(frames, H, W, 3), RGB."""
Told = dict[tuple[str, str], tuple[Tensor, Tensor]]
"""The states of a prompt and of what shall not be shown, by the two texts."""
EachStep = Callable[[int, Tensor], None]
"""Hears of every step: its index, and the latents after it."""


@dataclass(frozen=True)
class Wanted:
    """One video."""

    prompt: str
    seed: int
    negative: str = ""


@dataclass(frozen=True)
class Making:
    """How videos are made."""

    frames: int = 16
    """1 makes pictures."""
    height: int = 512
    width: int = 512
    steps: int = 50
    guidance: float = 7.5
    decode_chunk: int = 16
    """Frames that are decoded together."""


@dataclass(frozen=True)
class TextToVideo:
    """Makes videos from prompts. Each hangs on its own prompt and seed alone, whatever else is made with it."""

    folder: Path
    """Of a `LattePipeline`."""
    runtime: Runtime
    scheduler: TextScheduler = "checkpoint"
    temporal_decoder: bool = False
    """Whether the decoder sees neighbouring frames, which flickers less."""

    @classmethod
    def of(
        cls, model: str, runtime: Runtime, scheduler: TextScheduler = "checkpoint", *, temporal_decoder: bool = False
    ) -> "TextToVideo":
        """`model` is a folder, or an id on the hub, which is fetched where it isn't on this machine."""
        identity = hub_id(model)
        folder = Path(model) if identity is None else snapshot(identity, PATTERNS, '"checkpoint"')
        return cls(folder, runtime, scheduler, temporal_decoder)

    def ready(self, wanted: Sequence[Wanted], making: Making) -> "VideoMaker":
        """What makes the wanted videos. Their prompts are encoded, and the text encoder is dropped before the other
        networks load."""
        self._require(making)
        with torch.inference_mode():
            told = self._encoded(wanted)
        self.runtime.release_memory()
        return VideoMaker(self._pipeline(making.frames), told, making, self.runtime)

    def videos(self, wanted: Sequence[Wanted], making: Making) -> Iterator[Video]:
        """The videos in order, each as soon as it is made."""
        maker = self.ready(wanted, making)
        for each in wanted:
            yield maker.make(each)

    def _require(self, making: Making) -> None:
        index = self.folder / "model_index.json"
        if not index.is_file():
            raise MissingFileError(f"{index}: was not found. Name a folder that diffusers' LattePipeline was saved to.")
        kind = read_settings(index).get("_class_name")
        if kind != "LattePipeline":
            raise ModelError(f'{index}: is a "{kind}". Name a folder of a "LattePipeline".')
        if self.temporal_decoder and not (self.folder / TEMPORAL_DECODER).is_dir():
            raise MissingFileError(
                f"{self.folder / TEMPORAL_DECODER}: was not found. Leave out the temporal decoder, or copy it there."
            )
        blocks = read_settings(self.folder / "vae" / "config.json")["block_out_channels"]
        patch = read_settings(self.folder / "transformer" / "config.json")["patch_size"]
        side = int(2 ** (len(blocks) - 1) * patch)
        if making.frames < 1 or making.height % side or making.width % side:
            raise ModelError(
                f"{self.folder}: makes videos of one frame or more, whose sides {side} divides; {making.frames} of "
                f"{making.width}×{making.height} were asked for."
            )

    def _encoded(self, wanted: Sequence[Wanted]) -> Told:
        """The prompts' states, on the CPU."""
        import diffusers
        from transformers import T5EncoderModel, T5Tokenizer

        dtype, device = self.runtime.torch_dtype(), self.runtime.torch_device()
        try:
            tokenizer = T5Tokenizer.from_pretrained(str(self.folder / "tokenizer"), local_files_only=True)
        except (OSError, ValueError, ImportError) as problem:
            raise ModelError(
                f"{self.folder / 'tokenizer'}: doesn't load as a T5 tokenizer ({str(problem).splitlines()[0][:200]}). "
                "Copy or download it again."
            ) from problem
        encoder = load_network(T5EncoderModel, self.folder / "text_encoder", dtype).to(device)
        kind: Any = diffusers.LattePipeline
        pipeline = kind(tokenizer, encoder, None, None, None)
        told: Told = {}
        for prompt, negative in dict.fromkeys((each.prompt, each.negative) for each in wanted):
            # One at a time: in a batch, diffusers masks a prompt's padding instead of cutting it off.
            states = pipeline.encode_prompt(prompt, negative_prompt=negative, device=device)
            told[prompt, negative] = (states[0].cpu(), states[1].cpu())
        return told

    def _pipeline(self, frames: int) -> Any:
        """Denoiser, scheduler and decoder."""
        import diffusers

        dtype, device = self.runtime.torch_dtype(), self.runtime.torch_device()
        transformer = load_network(diffusers.LatteTransformer3DModel, self.folder / "transformer", dtype)
        if transformer.config.out_channels != 2 * transformer.config.in_channels:
            raise ModelError(
                f"{self.folder / 'transformer'}: answers {transformer.config.out_channels} channels to "
                f"{transformer.config.in_channels}; a Latte answers twice as many, with its variance."
            )
        _tell_frames(transformer, frames)
        kind: Any = diffusers.AutoencoderKLTemporalDecoder if self.temporal_decoder else diffusers.AutoencoderKL
        vae = load_network(kind, self.folder / (TEMPORAL_DECODER if self.temporal_decoder else "vae"), dtype)
        kind = diffusers.LattePipeline
        pipeline = kind(None, None, vae, transformer, self._scheduler())
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(device)

    def _scheduler(self) -> Any:
        import diffusers

        settings = read_settings(self.folder / "scheduler" / "scheduler_config.json")
        name = settings["_class_name"] if self.scheduler == "checkpoint" else KINDS[self.scheduler]
        plain = {key: value for key, value in settings.items() if not key.startswith("_")}
        if name != "DDPMScheduler" and plain.get("variance_type") in LEARNED:
            # Only DDPM's takes the variance apart; the pipeline does it for all others.
            plain["variance_type"] = None if name.startswith("DPMSolver") else "fixed_small"
        if name == "PNDMScheduler":
            plain["skip_prk_steps"] = True  # its Runge-Kutta start fails with few steps
        with _scheduling():
            return getattr(diffusers, name).from_config(plain)


@dataclass(frozen=True)
class VideoMaker:
    """Makes videos whose prompts it was told."""

    pipeline: Any
    told: Told
    making: Making
    runtime: Runtime

    @torch.inference_mode()
    def make(self, wanted: Wanted, each_step: EachStep | None = None) -> Video:
        making, (words, others) = self.making, self.told[wanted.prompt, wanted.negative]
        dtype, device = self.runtime.torch_dtype(), self.runtime.torch_device()
        random = torch_generator(wanted.seed, "text_to_video")
        # In float32 whatever the networks' precision, so that a seed means the same noise.
        scale = self.pipeline.vae_scale_factor
        size = (making.frames, making.height // scale, making.width // scale)
        noise = torch.randn((1, self.pipeline.transformer.config.in_channels, *size), generator=random)

        def step_done(_pipeline: Any, step: int, _t: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            if each_step is not None:
                each_step(step, tensors["latents"])
            return {}

        with _scheduling():
            latents: Tensor = self.pipeline(
                negative_prompt=None,
                prompt_embeds=words.to(device, dtype),
                negative_prompt_embeds=others.to(device, dtype),
                num_inference_steps=making.steps,
                guidance_scale=making.guidance,
                video_length=making.frames,
                height=making.height,
                width=making.width,
                latents=noise.to(dtype),
                generator=random,
                enable_temporal_attentions=making.frames > 1,
                output_type="latent",
                callback_on_step_end=step_done,
            ).frames
        if not bool(torch.isfinite(latents).all()):
            raise ModelError(
                'The networks\' numbers overflowed (NaN or infinite). Set "dtype" to "float32" or "bfloat16".'
            )
        return self.decode(latents)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Video:
        """One video from its latents, at the end or on the way."""
        chunk = self.making.decode_chunk
        pixels: Tensor = self.pipeline.decode_latents(latents, latents.shape[2], decode_chunk_size=chunk)
        levels = ((pixels[0].permute(1, 2, 3, 0) / 2 + 0.5).clamp(0, 1) * 255).round()
        return levels.to(torch.uint8).cpu().numpy()


@contextmanager
def _scheduling() -> Iterator[None]:
    """Without the warnings of how diffusers' schedulers hand their tensors to NumPy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _tell_frames(transformer: Any, frames: int) -> None:
    """Positions in time for so many frames. They are computed, not learned; a single picture has none."""
    if frames > 1:
        transformer.temp_pos_embed = temporal_table(frames, transformer.temp_pos_embed.shape[-1])
