"""Steps that go through the outer blocks alone, with what the deeper ones said in an earlier step."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from diffsynth.attention.patterns import Batch, Reference
from diffsynth.diffusion.schedule import Step
from diffsynth.sd.features import FeatureCache
from diffsynth.sd.networks import Networks
from diffsynth.sd.placement import Placement
from diffsynth.sd.shallow import Listening


@dataclass(frozen=True)
class OuterBlocks:
    """The networks' outer blocks, and an ear at what the deeper ones hand to them."""

    networks: Networks
    listening: Listening

    @classmethod
    def of(cls, networks: Networks) -> "OuterBlocks":
        return cls(networks.shallow(), Listening(networks.unet))

    def among(self, shown: Sequence[int] | None) -> "OuterBlocks":
        """For a rendering of only these frames."""
        return replace(self, networks=self.networks.among(shown))


@dataclass(frozen=True)
class Reuse:
    """For one clip."""

    outer: OuterBlocks
    features: FeatureCache

    def applies(self, step: Step) -> bool:
        """Whether this step takes up what was said before."""
        return not self.features.computes(step)

    def keep(self, step: Step, batch: Batch, sides: int) -> None:
        """What the deeper blocks just said of the rows that are this batch's own, and of references."""
        own = [*batch.wanted, *(place for place, row in enumerate(batch.rows) if isinstance(row, Reference))]
        heard = self.outer.listening.take()
        found = heard.view(sides, len(batch.rows), *heard.shape[1:])
        self.features.keep(step, [batch.rows[place] for place in own], found[:, own])

    def recall(self, step: Step, batch: Batch, sides: int, placement: Placement) -> None:
        """Lay what was said of the rows before the last block."""
        found = self.features.recall(step, batch.rows, sides)
        self.outer.networks.unet.up_blocks[0].features = placement.tensor(found.flatten(0, 1))
