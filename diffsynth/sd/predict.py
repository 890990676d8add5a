"""What the networks say to a chunk of frames: ControlNets, denoiser and guidance, with attention across frames."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from diffsynth.attention.cross_frame import Attend, CrossFrameAttention, Links
from diffsynth.attention.patterns import AttentionMode, Batch, Entry, Reference, Source, shared_batch, window_batch
from diffsynth.diffusion.denoise import Read
from diffsynth.diffusion.schedule import Schedule, Step
from diffsynth.runtime import torch_generator
from diffsynth.sd.control import Branch, Condition, ControlBranch
from diffsynth.sd.lora import Loras
from diffsynth.sd.picture_attention import LayerTokens, PictureAttention, PicturePrompt, Showing
from diffsynth.sd.placement import Placement
from diffsynth.sd.t2i import AdapterBranch, summed
from diffsynth.sd.text import Words
from diffsynth.sd.xl import sizes

NEGATIVE, POSITIVE = 0, 1


@dataclass(frozen=True)
class Networks:
    """A denoiser and its ControlNets, whose attention layers all follow the same links."""

    unet: Any
    branches: tuple[Branch, ...]
    links: Links
    placement: Placement
    loras: Loras = field(default_factory=Loras)
    showing: Showing = field(default_factory=Showing)

    @classmethod
    def linked(
        cls,
        unet: Any,
        branches: Sequence[Branch],
        attend: Attend,
        placement: Placement,
        loras: Loras | None = None,
        pictures: Sequence[tuple[PicturePrompt, Mapping[str, LayerTokens]]] = (),
    ) -> "Networks":
        """`pictures` are prompts of pictures, and what each says to the denoiser's layers by their names."""
        links = Links()
        for network in (unet, *(each.network for each in branches if isinstance(each, ControlBranch))):
            network.set_attn_processor(CrossFrameAttention(links, attend))
        showing = Showing(tuple(prompt for prompt, _ in pictures))
        if pictures:
            plain: dict[str, CrossFrameAttention] = dict(unet.attn_processors)
            for name in pictures[0][1]:
                plain[name] = PictureAttention(links, attend, showing, [layers[name] for _, layers in pictures])
            unet.set_attn_processor(plain)
        return cls(unet, tuple(branches), links, placement, loras or Loras(), showing)

    @property
    def guidance_width(self) -> int | None:
        """How long the vector is by which a distilled denoiser is told the guidance scale; None: it is not."""
        width = self.unet.config.time_cond_proj_dim
        return None if width is None else int(width)


@dataclass(frozen=True)
class Neighbourhood:
    """Who attends to whom, and how that is computed."""

    mode: AttentionMode
    pattern: tuple[Entry, ...]
    halo: int
    count: int

    def around(self) -> int:
        """Rows beside a chunk's own, in the middle of a long clip."""
        middle = self.count // 2
        return len(shared_batch(self.pattern, range(middle, middle + 1), self.count, self.halo).rows) - 1

    def batches(self, chunk: range) -> Iterator[Batch]:
        if self.mode == "shared":
            yield shared_batch(self.pattern, chunk, self.count, self.halo)
        else:
            for frame in chunk:
                yield window_batch(self.pattern, frame, self.count)


@dataclass(frozen=True)
class Noise:
    """The noise that a clip begins with."""

    shape: tuple[int, int, int]
    seed: int
    shared: bool = True

    def of(self, frame: int) -> Tensor:
        """(C, h, w) float32; the seed's way is one noise for all frames."""
        generator = torch.Generator("cpu").manual_seed(self.seed)
        if not self.shared:
            generator = torch_generator(self.seed, "noise", frame)
        return torch.randn((1, *self.shape), generator=generator)[0]

    def of_step(self, index: int) -> Tensor:
        """What a step adds, where its solver adds noise: the same to every frame."""
        return torch.randn(self.shape, generator=torch_generator(self.seed, "step", index))


@dataclass(frozen=True)
class Predictor:
    """Answers for one clip."""

    networks: Networks
    conditions: tuple[Condition, ...]
    words: Words
    guidance: float
    schedule: Schedule
    neighbourhood: Neighbourhood
    noise: Noise
    references: Tensor | None = None
    """(R, C, h, w) clean latents of the reference pictures."""

    @torch.inference_mode()
    def __call__(self, read: Read, chunk: range, step: Step) -> Tensor:
        self.networks.loras.set(step, len(self.schedule.steps))
        return torch.cat([self._guided(batch, read, step) for batch in self.neighbourhood.batches(chunk)])

    def _guided(self, batch: Batch, read: Read, step: Step) -> Tensor:
        latents = self._latents(batch, read, step)
        sides: tuple[tuple[int, ...], ...] = ((NEGATIVE, POSITIVE),)
        if self.one_sided:
            sides = ((POSITIVE,),)
        elif self.neighbourhood.mode == "window":
            sides = ((NEGATIVE,), (POSITIVE,))
        answers = torch.cat([self._answers(batch, latents, step, each) for each in sides])
        if self.one_sided:
            return answers[0]
        return torch.lerp(answers[NEGATIVE], answers[POSITIVE], self.guidance)

    @property
    def one_sided(self) -> bool:
        """Whether the prompt's answer is all that counts."""
        return self.guidance == 1 or self.networks.guidance_width is not None

    def _words(self, sides: tuple[int, ...]) -> Tensor:
        if len(sides) == 2:
            return self.words.together
        return self.words.positive if sides == (POSITIVE,) else self.words.negative

    def _latents(self, batch: Batch, read: Read, step: Step) -> Tensor:
        """(rows, C, h, w); the references' are as noisy as the frames'."""
        frames = [row for row in batch.rows if isinstance(row, int)]
        known: dict[Source, Tensor] = dict(zip(frames, read(frames), strict=True))
        noise_of = batch.rows[batch.wanted[0]] if self.neighbourhood.mode == "window" else 0
        assert isinstance(noise_of, int)
        for row in batch.rows:
            if isinstance(row, Reference):
                assert self.references is not None
                known[row] = self.schedule.noised(self.references[row.number], self.noise.of(noise_of), step)
        return torch.stack([known[row] for row in batch.rows])

    def _answers(self, batch: Batch, latents: Tensor, step: Step, sides: tuple[int, ...]) -> Tensor:
        """(sides, wanted, C, h, w) float32 on the CPU: the denoiser's word on each side of the guidance."""
        networks, count = self.networks, len(batch.rows)
        placed = networks.placement.tensor(latents.repeat(len(sides), 1, 1, 1))
        words = networks.placement.tensor(self._words(sides)).repeat_interleave(count, 0)
        added = self._added(placed, sides)
        networks.showing.set(step, len(self.schedule.steps), sides, placed)
        with networks.links.of(batch, len(sides), placed.device):
            down, middle = self._residuals(batch, placed, words, added, step, sides)
            with networks.placement.present(networks.unet):
                answers = networks.unet(
                    placed,
                    step.timestep,
                    encoder_hidden_states=words,
                    timestep_cond=self._steering(len(placed)),
                    added_cond_kwargs=added,
                    down_block_additional_residuals=down or None,
                    mid_block_additional_residual=middle,
                    down_intrablock_additional_residuals=self._features(batch, placed, step, sides),
                    return_dict=False,
                )[0]
        wanted: Tensor = answers.view(len(sides), count, *answers.shape[1:])[:, list(batch.wanted)]
        return wanted.float().cpu()

    def _added(self, placed: Tensor, sides: tuple[int, ...]) -> dict[str, Tensor]:
        """What XL is told beside the words; nothing for others."""
        pooled = self.words.pooled
        if pooled is None:
            return {}
        rows = pooled[list(sides)].repeat_interleave(len(placed) // len(sides), 0)
        return {"text_embeds": self.networks.placement.tensor(rows), "time_ids": sizes(placed)}

    def _steering(self, rows: int) -> Tensor | None:
        """The guidance scale, for a denoiser that was distilled to read it."""
        width = self.networks.guidance_width
        if width is None:
            return None
        return self.networks.placement.tensor(guidance_waves(self.guidance, width)).expand(rows, -1)

    def _residuals(
        self,
        batch: Batch,
        latents: Tensor,
        words: Tensor,
        added: Mapping[str, Tensor],
        step: Step,
        sides: tuple[int, ...],
    ) -> tuple[list[Tensor], Tensor | None]:
        """The sum of what the acting ControlNets say."""
        total: list[Tensor] = []
        for branch, condition in self._acting(step):
            if not isinstance(branch, ControlBranch) or (branch.pooled and sides == (NEGATIVE,)):
                continue
            seen = self.networks.placement.tensor(condition.rows(batch.rows))
            with self.networks.placement.present(branch.network):
                parts = self._branch(branch, batch, latents, words, added, step, seen, sides)
            total = parts if not total else [one + other for one, other in zip(total, parts, strict=True)]
        return (total[:-1], total[-1]) if total else ([], None)

    def _acting(self, step: Step) -> Iterator[tuple[Branch, Condition]]:
        for branch, condition in zip(self.networks.branches, self.conditions, strict=True):
            if branch.acts(step, len(self.schedule.steps)):
                yield branch, condition

    def _features(self, batch: Batch, latents: Tensor, step: Step, sides: tuple[int, ...]) -> list[Tensor] | None:
        """The sum of what the acting T2I-Adapters say, to both sides alike."""
        parts = [
            branch.features(condition.rows(batch.rows), latents)
            for branch, condition in self._acting(step)
            if isinstance(branch, AdapterBranch)
        ]
        return [each.repeat(len(sides), 1, 1, 1) for each in summed(parts)] if parts else None

    def _branch(
        self,
        branch: ControlBranch,
        batch: Batch,
        latents: Tensor,
        words: Tensor,
        added: Mapping[str, Tensor],
        step: Step,
        seen: Tensor,
        sides: tuple[int, ...],
    ) -> list[Tensor]:
        if not (branch.pooled and len(sides) == 2):
            down, middle = branch(latents, step, words, seen.repeat(len(sides), 1, 1, 1), added)
            return [*down, middle]
        # Only the positive side hears it.
        positive = slice(len(batch.rows), None)
        with self.networks.links.of(batch, 1, latents.device):
            heard = {name: each[positive] for name, each in added.items()}
            down, middle = branch(latents[positive], step, words[positive], seen, heard)
        return [torch.cat([torch.zeros_like(each), each]) for each in (*down, middle)]


def guidance_waves(guidance: float, width: int) -> Tensor:
    """(1, width): a guidance scale as sines and cosines, the way latent consistency models were taught to read it.

    They count from 0: what the prompt says is added so many times once more.
    """
    half = width // 2
    rates = torch.exp(torch.arange(half, dtype=torch.float32) * (-math.log(10000.0) / (half - 1)))
    waves = (guidance - 1) * 1000 * rates
    return torch.nn.functional.pad(torch.cat([waves.sin(), waves.cos()]), (0, width % 2))[None]
