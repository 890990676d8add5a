"""Videos and pictures from text by a published Latte: diffusers' `LattePipeline`, one network in memory at a time."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffsynth.config.fields import hub_id
from diffsynth.errors import MissingFileError, ModelError
from diffsynth.hub import snapshot
from diffsynth.models.positions import temporal_table
from diffsynth.runtime import Runtime, torch_generator
from diffsynth.sd.layout import read_settings
from diffsynth.sd.load import load_network

TextScheduler = Literal[
    "checkpoint", "ddpm", "ddim", "pndm", "euler", "euler_ancestral", "heun", "dpmpp_2m", "dpmpp_2s", "deis", "unipc"
]
"""`checkpoint` is the one in the folder."""
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


@dataclass(frozen=True)
class Wanted:
    """One video."""

    prompt: str
    seed: int
    negative: str = ""


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

    def videos(
        self,
        wanted: Sequence[Wanted],
        *,
        frames: int = 16,
        height: int = 512,
        width: int = 512,
        steps: int = 50,
        guidance: float = 7.5,
        decode_chunk: int = 16,
        each_step: Callable[[int, int], None] | None = None,
    ) -> Iterator[Video]:
        """The videos in order, each as soon as it is made; of 1 frame, pictures.

        All prompts are encoded first, and the text encoder is dropped before the other networks load. `each_step` hears
        the number of the video and of its step; `decode_chunk` is how many frames are decoded together.
        """
        self._require(frames, height, width)
        with torch.inference_mode():
            told = self._encoded(wanted)
        self.runtime.release_memory()
        pipeline = self._pipeline(frames)
        for number, (each, words) in enumerate(zip(wanted, told, strict=True)):
            with torch.inference_mode():
                latents = self._denoised(
                    pipeline, each, words, (frames, height, width), steps, guidance, number, each_step
                )
                yield self._decoded(pipeline, latents, decode_chunk)

    def _require(self, frames: int, height: int, width: int) -> None:
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
        if frames < 1 or height % side or width % side:
            raise ModelError(
                f"{self.folder}: makes videos of one frame or more, whose sides {side} divides; {frames} of "
                f"{width}×{height} were asked for."
            )

    def _encoded(self, wanted: Sequence[Wanted]) -> list[tuple[Tensor, Tensor]]:
        """For each video the states of its prompt and of what it shall not show, on the CPU."""
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
        cache: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}
        for each in wanted:
            key = (each.prompt, each.negative)
            if key not in cache:
                # One at a time: in a batch, diffusers masks a prompt's padding instead of cutting it off.
                states = pipeline.encode_prompt(each.prompt, negative_prompt=each.negative, device=device)
                cache[key] = (states[0].cpu(), states[1].cpu())
        return [cache[each.prompt, each.negative] for each in wanted]

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

    def _denoised(
        self,
        pipeline: Any,
        wanted: Wanted,
        words: tuple[Tensor, Tensor],
        size: tuple[int, int, int],
        steps: int,
        guidance: float,
        number: int,
        each_step: Callable[[int, int], None] | None,
    ) -> Tensor:
        frames, height, width = size
        dtype, device = self.runtime.torch_dtype(), self.runtime.torch_device()
        random = torch_generator(wanted.seed, "text_to_video")
        # In float32 whatever the networks' precision, so that a seed means the same noise.
        scale = pipeline.vae_scale_factor
        shape = (1, pipeline.transformer.config.in_channels, frames, height // scale, width // scale)
        noise = torch.randn(shape, generator=random)

        def told(_pipeline: Any, step: int, _t: Any, _tensors: Any) -> dict[str, Any]:
            if each_step is not None:
                each_step(number, step)
            return {}

        with _scheduling():
            latents: Tensor = pipeline(
                negative_prompt=None,
                prompt_embeds=words[0].to(device, dtype),
                negative_prompt_embeds=words[1].to(device, dtype),
                num_inference_steps=steps,
                guidance_scale=guidance,
                video_length=frames,
                height=height,
                width=width,
                latents=noise.to(dtype),
                generator=random,
                enable_temporal_attentions=frames > 1,
                output_type="latent",
                callback_on_step_end=told,
            ).frames
        if not bool(torch.isfinite(latents).all()):
            raise ModelError(
                'The networks\' numbers overflowed (NaN or infinite). Set "dtype" to "float32" or "bfloat16".'
            )
        return latents

    @staticmethod
    def _decoded(pipeline: Any, latents: Tensor, chunk: int) -> Video:
        pixels: Tensor = pipeline.decode_latents(latents, latents.shape[2], decode_chunk_size=chunk)
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
