"""What the networks say to a chunk of frames: ControlNets, denoiser and guidance, with attention across frames."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diffsynth.attention.patterns import AttentionMode, Batch, Entry, Reference, Source, shared_batch, window_batch
from diffsynth.diffusion.denoise import Read
from diffsynth.diffusion.schedule import Schedule, Step
from diffsynth.sd.control import Branch, Condition, ControlBranch
from diffsynth.sd.networks import Networks
from diffsynth.sd.noise import Noise
from diffsynth.sd.prompt import BACKGROUND, NEGATIVE, POSITIVE
from diffsynth.sd.reuse import Reuse
from diffsynth.sd.shallow import silent
from diffsynth.sd.t2i import AdapterBranch, summed
from diffsynth.sd.text import Script
from diffsynth.sd.xl import sizes
from diffsynth.tracks import Track, number_at

Region = Callable[[int], Tensor]
"""Of a frame, how much each latent hears the prompt, (1, h, w), and not the background's."""


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
class Asking:
    """What goes through the networks at once: a batch's rows, on one side of the guidance or on several in turn."""

    batch: Batch
    step: Step
    sides: tuple[int, ...]
    frames: list[int]
    """For each row of the batch the frame whose settings it takes."""
    latents: Tensor
    """(sides · rows, C, h, w), as the words and what is added on the device."""
    words: Tensor
    added: Mapping[str, Tensor]

    def without_negative(self) -> "Asking":
        """The part that holds prompts."""
        part = slice(len(self.batch.rows), None)
        heard = {name: each[part] for name, each in self.added.items()}
        return replace(self, sides=self.sides[1:], latents=self.latents[part], words=self.words[part], added=heard)


@dataclass(frozen=True)
class Predictor:
    """Answers for one clip."""

    networks: Networks
    conditions: tuple[Condition, ...]
    script: Script
    guidance: Track[float]
    schedule: Schedule
    neighbourhood: Neighbourhood
    noise: Noise
    references: Tensor | None = None
    """(R, C, h, w) clean latents of the reference pictures."""
    reuse: Reuse | None = None
    region: Region | None = None
    """Where the background has a prompt of its own."""

    @torch.inference_mode()
    def __call__(self, read: Read, chunk: range, step: Step) -> Tensor:
        return torch.cat([self._guided(batch, read, step) for batch in self.neighbourhood.batches(chunk)])

    @property
    def steps(self) -> int:
        return len(self.schedule.steps)

    @property
    def one_sided(self) -> bool:
        """Whether the prompt's answer is all that counts."""
        return is_one(self.guidance) or self.networks.guidance_width is not None

    def _guided(self, batch: Batch, read: Read, step: Step) -> Tensor:
        latents = self._latents(batch, read, step)
        painting = (POSITIVE,) if self.region is None else (POSITIVE, BACKGROUND)
        sides = painting if self.one_sided else (NEGATIVE, *painting)
        passes = [(each,) for each in sides] if self.neighbourhood.mode == "window" else [sides]
        found = torch.cat([self._answers(self._asking(batch, latents, step, each)) for each in passes])
        answers: dict[int, Tensor] = dict(zip(sides, found, strict=True))
        frames = [self._frames(batch)[row] for row in batch.wanted]
        if not self.one_sided:
            strength = torch.tensor([number_at(self.guidance, frame) for frame in frames]).view(-1, 1, 1, 1)
            answers = {side: torch.lerp(answers[NEGATIVE], answers[side], strength) for side in painting}
        if self.region is None:
            return answers[POSITIVE]
        share = torch.stack([self.region(frame) for frame in frames])
        mixed: Tensor = torch.lerp(answers[BACKGROUND], answers[POSITIVE], share)
        return mixed

    def _frames(self, batch: Batch) -> list[int]:
        """For each row the frame whose settings it takes; a reference has none of its own."""
        asks = batch.rows[batch.wanted[0]] if self.neighbourhood.mode == "window" else 0
        assert isinstance(asks, int)
        return [asks if isinstance(row, Reference) else row for row in batch.rows]

    def _latents(self, batch: Batch, read: Read, step: Step) -> Tensor:
        """(rows, C, h, w); the references' are as noisy as the frames'."""
        frames = [row for row in batch.rows if isinstance(row, int)]
        known: dict[Source, Tensor] = dict(zip(frames, read(frames), strict=True))
        for row, frame in zip(batch.rows, self._frames(batch), strict=True):
            if isinstance(row, Reference):
                assert self.references is not None
                known[row] = self.schedule.noised(self.references[row.number], self.noise.of(frame), step)
        return torch.stack([known[row] for row in batch.rows])

    def _asking(self, batch: Batch, latents: Tensor, step: Step, sides: tuple[int, ...]) -> Asking:
        placement = self.networks.placement
        placed = placement.tensor(latents.repeat(len(sides), 1, 1, 1))
        frames = self._frames(batch)
        pooled = self.script.pooled(sides, frames)
        added = {} if pooled is None else {"text_embeds": placement.tensor(pooled), "time_ids": sizes(placed)}
        words = placement.tensor(self.script.states(sides, frames))
        return Asking(batch, step, sides, frames, placed, words, added)

    def _answers(self, asking: Asking) -> Tensor:
        """(sides, wanted, C, h, w) float32 on the CPU: the denoiser's word on each side of the guidance."""
        batch, sides, reuse = asking.batch, len(asking.sides), self.reuse
        again = reuse is not None and reuse.applies(asking.step)
        networks = reuse.outer.networks if reuse is not None and again else self.networks
        networks.loras.set(asking.step, self.steps, asking.frames * sides)
        networks.showing.set(asking.step, self.steps, asking.sides, asking.latents)
        with networks.links.of(batch, sides, asking.latents):
            down, middle = self._residuals(networks, asking)
            if reuse is not None and again:
                middle = None if middle is None else silent(middle)
                reuse.recall(asking.step, batch, sides, networks.placement)
            with networks.placement.present(networks.unet):
                answers = networks.unet(
                    asking.latents,
                    torch.tensor(asking.step.timestep),  # as a number, a compiled network would be made anew for each
                    encoder_hidden_states=asking.words,
                    timestep_cond=self._steering(asking),
                    added_cond_kwargs=dict(asking.added),
                    down_block_additional_residuals=down or None,
                    mid_block_additional_residual=middle,
                    down_intrablock_additional_residuals=self._features(networks, asking),
                    return_dict=False,
                )[0]
        if reuse is not None and not again:
            reuse.keep(asking.step, batch, sides)
        wanted: Tensor = answers.view(sides, len(batch.rows), *answers.shape[1:])[:, list(batch.wanted)]
        return wanted.float().cpu()

    def _steering(self, asking: Asking) -> Tensor | None:
        """(rows, width) of the guidance scale, for a denoiser that was distilled to read it."""
        width = self.networks.guidance_width
        if width is None:
            return None
        scales = torch.tensor([number_at(self.guidance, frame) for frame in asking.frames])
        return self.networks.placement.tensor(guidance_waves(scales, width).repeat(len(asking.sides), 1))

    def _residuals(self, networks: Networks, asking: Asking) -> tuple[list[Tensor], Tensor | None]:
        """The sum of what the acting ControlNets say."""
        total: list[Tensor] = []
        for branch, condition in self._acting(networks, asking):
            if not isinstance(branch, ControlBranch) or (branch.pooled and asking.sides == (NEGATIVE,)):
                continue
            seen = networks.placement.tensor(condition.rows(asking.batch.rows))
            with networks.placement.present(branch.network):
                parts = self._branch(networks, branch, asking, seen)
            total = parts if not total else [one + other for one, other in zip(total, parts, strict=True)]
        return (total[:-1], total[-1]) if total else ([], None)

    def _acting(self, networks: Networks, asking: Asking) -> Iterator[tuple[Branch, Condition]]:
        for branch, condition in zip(networks.branches, self.conditions, strict=True):
            if branch.acts(asking.step, self.steps):
                yield branch, condition

    def _features(self, networks: Networks, asking: Asking) -> list[Tensor] | None:
        """The sum of what the acting T2I-Adapters say, to all sides alike."""
        parts = [
            branch.features(condition.rows(asking.batch.rows), asking.latents, asking.frames)
            for branch, condition in self._acting(networks, asking)
            if isinstance(branch, AdapterBranch)
        ]
        return [each.repeat(len(asking.sides), 1, 1, 1) for each in summed(parts)] if parts else None

    def _branch(self, networks: Networks, branch: ControlBranch, asking: Asking, seen: Tensor) -> list[Tensor]:
        if not branch.pooled or NEGATIVE not in asking.sides:
            return self._said(branch, asking, seen)
        # Only the prompts' sides hear it.
        heard, count = asking.without_negative(), len(asking.batch.rows)
        with networks.links.of(asking.batch, len(heard.sides), asking.latents):
            said = self._said(branch, heard, seen)
        return [torch.cat([torch.zeros_like(each[:count]), each]) for each in said]

    @staticmethod
    def _said(branch: ControlBranch, asking: Asking, seen: Tensor) -> list[Tensor]:
        sides = len(asking.sides)
        weight = branch.weight(asking.frames)
        repeated = weight.repeat(sides, 1, 1, 1) if isinstance(weight, Tensor) else weight
        condition = seen.repeat(sides, 1, 1, 1)
        down, middle = branch(asking.latents, asking.step, asking.words, condition, repeated, asking.added)
        return [*down, middle]


def is_one(guidance: Track[float]) -> bool:
    """Whether the negative prompt counts nowhere, so that its side needn't be computed."""
    return guidance.constant and guidance.values[0] == 1


def guidance_waves(scales: Tensor, width: int) -> Tensor:
    """(n, width): guidance scales as sines and cosines, the way latent consistency models were taught to read them.

    They count from 0: what the prompt says is added so many times once more.
    """
    half = width // 2
    rates = torch.exp(torch.arange(half, dtype=torch.float32) * (-math.log(10000.0) / (half - 1)))
    waves = (scales[:, None] - 1) * 1000 * rates
    return torch.nn.functional.pad(torch.cat([waves.sin(), waves.cos()], 1), (0, width % 2))
