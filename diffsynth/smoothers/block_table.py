"""The table of `fast`: every block of a shot blended at its anchor, on disk, level by level."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffsynth.frames import FrameStore, FrameWriter, Image, is_complete
from diffsynth.progress import Progress
from diffsynth.smoothers.blending import Layer, to_image
from diffsynth.smoothers.matching import Recent
from diffsynth.smoothers.remapping import Remapper, looked_up
from diffsynth.smoothers.windows import Block, Shot, cover, table

KEPT_NODES = 24


@dataclass(frozen=True)
class Node:
    """A block blended at its anchor."""

    anchor: int
    style: Image
    guide: Image
    agreed: Image
    """(H, W): the share of the block's frames that agreed, 255 all."""
    frames: int


@dataclass(frozen=True)
class BlockTable:
    """What the nodes of one styled clip lie in; `at` blends the nodes that cover a frame's window."""

    remapper: Remapper
    size: int
    nodes: dict[tuple[Shot, Block], int]
    """The number of each node."""
    kept: Recent[Node]

    def layers(self, t: int, shot: Shot) -> list[Layer]:
        """The nodes that cover the window of frame `t`, as they look there."""
        return list(self._layers(t, shot))

    def _layers(self, t: int, shot: Shot) -> Iterator[Layer]:
        shares = cover(t, self.size, shot)
        found = [(self.kept[self.nodes[shot, share.block]], share.part) for share in shares]
        remapper = self.remapper
        nnfs = remapper.matcher.nnfs([(node.anchor, t) for node, _ in found if node.anchor != t])
        for node, part in found:
            nnf = None if node.anchor == t else next(nnfs)
            style, guide, agreed = node.style, node.guide, node.agreed
            if nnf is not None:
                style, guide = remapper.vote(nnf, style), remapper.vote(nnf, guide)
                agreed = looked_up(nnf, agreed)
            count = agreed.astype(np.float32) * np.float32(part * node.frames / 255)
            yield Layer(style, guide, count * remapper.weight(guide, t))
        # The frame itself once more: where no other agrees with it, it alone is right.
        yield remapper.own(t)


def build(remapper: Remapper, size: int, shots: tuple[Shot, ...], work: Path, progress: Progress) -> BlockTable:
    """Blend every block that some window needs. Finished levels are taken as they are, an unfinished one goes on."""
    levels = table(size, shots)
    total = sum(map(len, levels.values()))
    stores: list[tuple[int, FrameStore, FrameStore]] = []
    nodes: dict[tuple[Shot, Block], int] = {}
    blocks: list[tuple[Shot, Block]] = []
    with progress.stage("table", total) as stage:
        for level, members in levels.items():
            style, guide = _level(remapper, members, work / f"level{level}")
            stores.append((len(blocks), style, guide))
            nodes |= {member: len(blocks) + number for number, member in enumerate(members)}
            blocks += members
            stage.advance(len(members))

    def load(number: int) -> Node:
        first, style, guide = next(each for each in reversed(stores) if each[0] <= number)
        place = number - first
        shot, block = blocks[number]
        return Node(block.anchor(shot), style[place], guide[place], style.alpha(place), len(block.frames(shot)))

    return BlockTable(remapper, size, nodes, Recent(load, KEPT_NODES))


def _level(remapper: Remapper, members: tuple[tuple[Shot, Block], ...], path: Path) -> tuple[FrameStore, FrameStore]:
    """The stores of one level: style with the agreement as its alpha, and guide."""
    paths = path / "style", path / "guide"
    height, width = remapper.style[0].shape[:2]
    with ExitStack() as stack:
        # Both are written together; where a crash left one behind the other, work goes on from the shorter.
        style, guide = (
            None if is_complete(each) else stack.enter_context(FrameWriter(each, height, width, alpha=alpha))
            for each, alpha in zip(paths, (True, False), strict=True)
        )
        begun = min((writer.count for writer in (style, guide) if writer is not None), default=len(members))
        for number in range(begun, len(members)):
            shot, block = members[number]
            frames = block.frames(shot)
            blend = remapper.blend(remapper.layers(frames, block.anchor(shot)))
            agreed = to_image(blend.weight * np.float32(255 / len(frames)))
            if style is not None and style.count == number:
                style.append(to_image(blend.style), agreed)
            if guide is not None and guide.count == number:
                guide.append(to_image(blend.guide))
        for writer in (style, guide):
            if writer is not None:
                writer.finish()
    return FrameStore(paths[0]), FrameStore(paths[1])
