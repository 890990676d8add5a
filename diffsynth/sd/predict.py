"""What the networks say to a chunk of frames: ControlNets, denoiser and guidance, with attention across frames."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from diffsynth.attention.patterns import AttentionMode, Batch, Entry, Reference, Source, shared_batch, window_batch
from diffsynth.diffusion.denoise import Read
from diffsynth.diffusion.schedule import Schedule, Step
from diffsynth.sd.control import Condition, ControlBranch
from diffsynth.sd.networks import Networks
from diffsynth.sd.noise import Noise
from diffsynth.sd.reuse import Reuse
from diffsynth.sd.shallow import silent
from diffsynth.sd.text import Words
from diffsynth.tracks import Track, number_at

NEGATIVE, POSITIVE = 0, 1


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
class Predictor:
    """Answers for one clip."""

    networks: Networks
    conditions: tuple[Condition, ...]
    words: Words
    guidance: Track[float]
    schedule: Schedule
    neighbourhood: Neighbourhood
    noise: Noise
    references: Tensor | None = None
    """(R, C, h, w) clean latents of the reference pictures."""
    reuse: Reuse | None = None

    @torch.inference_mode()
    def __call__(self, read: Read, chunk: range, step: Step) -> Tensor:
        return torch.cat([self._guided(batch, read, step) for batch in self.neighbourhood.batches(chunk)])

    def _guided(self, batch: Batch, read: Read, step: Step) -> Tensor:
        latents = self._latents(batch, read, step)
        sides: tuple[tuple[int, ...], ...] = ((NEGATIVE, POSITIVE),)
        unguided = is_one(self.guidance)
        if unguided:
            sides = ((POSITIVE,),)
        elif self.neighbourhood.mode == "window":
            sides = ((NEGATIVE,), (POSITIVE,))
        answers = torch.cat([self._answers(batch, latents, step, each) for each in sides])
        if unguided:
            return answers[0]
        frames = self._frames(batch)
        strength = torch.tensor([number_at(self.guidance, frames[row]) for row in batch.wanted])
        return torch.lerp(answers[NEGATIVE], answers[POSITIVE], strength.view(-1, 1, 1, 1))

    def _frames(self, batch: Batch) -> list[int]:
        """For each row the frame whose settings it takes; a reference is seen as the frame that is made from it is."""
        asks = batch.rows[batch.wanted[0]] if self.neighbourhood.mode == "window" else 0
        assert isinstance(asks, int)
        return [asks if isinstance(row, Reference) else row for row in batch.rows]

    def _words(self, sides: tuple[int, ...]) -> Tensor:
        if len(sides) == 2:
            return self.words.together
        return self.words.positive if sides == (POSITIVE,) else self.words.negative

    def _latents(self, batch: Batch, read: Read, step: Step) -> Tensor:
        """(rows, C, h, w); the references' are as noisy as the frames'."""
        frames = [row for row in batch.rows if isinstance(row, int)]
        known: dict[Source, Tensor] = dict(zip(frames, read(frames), strict=True))
        for row, frame in zip(batch.rows, self._frames(batch), strict=True):
            if isinstance(row, Reference):
                assert self.references is not None
                known[row] = self.schedule.noised(self.references[row.number], self.noise.of(frame), step)
        return torch.stack([known[row] for row in batch.rows])

    def _answers(self, batch: Batch, latents: Tensor, step: Step, sides: tuple[int, ...]) -> Tensor:
        """(sides, wanted, C, h, w) float32 on the CPU: the denoiser's word on each side of the guidance."""
        reuse, count = self.reuse, len(batch.rows)
        again = reuse is not None and reuse.applies(step)
        networks = reuse.outer.networks if reuse is not None and again else self.networks
        placed = networks.placement.tensor(latents.repeat(len(sides), 1, 1, 1))
        words = networks.placement.tensor(self._words(sides)).repeat_interleave(count, 0)
        with networks.links.of(batch, len(sides), placed):
            down, middle = self._residuals(networks, batch, placed, words, step, sides)
            if reuse is not None and again:
                middle = None if middle is None else silent(middle)
                reuse.recall(step, batch, len(sides), networks.placement)
            with networks.placement.present(networks.unet):
                answers = networks.unet(
                    placed,
                    step.timestep,
                    encoder_hidden_states=words,
                    down_block_additional_residuals=down or None,
                    mid_block_additional_residual=middle,
                    return_dict=False,
                )[0]
        if reuse is not None and not again:
            reuse.keep(step, batch, len(sides))
        wanted: Tensor = answers.view(len(sides), count, *answers.shape[1:])[:, list(batch.wanted)]
        return wanted.float().cpu()

    def _residuals(
        self, networks: Networks, batch: Batch, latents: Tensor, words: Tensor, step: Step, sides: tuple[int, ...]
    ) -> tuple[list[Tensor], Tensor | None]:
        """The sum of what the acting ControlNets say."""
        total: list[Tensor] = []
        for branch, condition in zip(networks.branches, self.conditions, strict=True):
            if not branch.acts(step, len(self.schedule.steps)) or (branch.pooled and sides == (NEGATIVE,)):
                continue
            seen = self.networks.placement.tensor(condition.rows(batch.rows))
            weight = branch.weight(self._frames(batch))
            with self.networks.placement.present(branch.network):
                parts = self._branch(branch, batch, latents, words, step, seen, weight, sides)
            total = parts if not total else [one + other for one, other in zip(total, parts, strict=True)]
        return (total[:-1], total[-1]) if total else ([], None)

    def _branch(
        self,
        branch: ControlBranch,
        batch: Batch,
        latents: Tensor,
        words: Tensor,
        step: Step,
        seen: Tensor,
        weight: float | Tensor,
        sides: tuple[int, ...],
    ) -> list[Tensor]:
        if not (branch.pooled and len(sides) == 2):
            repeated = weight.repeat(len(sides), 1, 1, 1) if isinstance(weight, Tensor) else weight
            down, middle = branch(latents, step, words, seen.repeat(len(sides), 1, 1, 1), repeated)
            return [*down, middle]
        # Only the positive side hears it.
        positive = slice(len(batch.rows), None)
        with self.networks.links.of(batch, 1, latents):
            down, middle = branch(latents[positive], step, words[positive], seen, weight)
        return [torch.cat([torch.zeros_like(each), each]) for each in (*down, middle)]


def is_one(guidance: Track[float]) -> bool:
    """Whether the negative prompt counts nowhere, so that its side needn't be computed."""
    return guidance.constant and guidance.values[0] == 1
