"""The ControlNets of a config, in both spellings: one list of objects, or the seed's three parallel lists."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from diffsynth.config import ClipPath, ConfigModel, Contradiction, ModelRef, Respelled, select
from diffsynth.config.keyed import Keyed, values
from diffsynth.processors import PROCESSOR_NAMES, ProcessorConfig, ProcessorName, canonical_name

PARALLEL_LISTS = {"controlnet_model_id": "model_id", "controlnet_processor": "processor", "controlnet_scale": "scale"}
"""The seed's three lists of the same length, and the key of one ControlNet that each of them holds."""
LIST_SCHEMAS: dict[str, dict[str, Any]] = {
    key: {"type": "array", "description": f"`{short}` of each of the `controlnets`, as an older spelling."}
    for key, short in PARALLEL_LISTS.items()
}


class ControlNetConfig(ConfigModel):
    """One ControlNet or T2I-Adapter, what it looks at, and how much it counts."""

    model_id: ModelRef
    """A ControlNet or T2I-Adapter: a folder, an id on the hub, or a ControlNet's file."""
    processor: ProcessorName | None = None
    """What turns frames into the condition."""
    condition: ClipPath | None = None
    """A ready-made condition in place of a processor: a clip of the same frames, cut as the input is, or one image."""
    scale: Keyed[Annotated[float, Field(ge=0, le=10)]] = 1.0
    """Weight of this net; 0 switches it off, at no cost. By frame, `{"0": 1, "48": 0.2}`, it goes over."""
    start: Annotated[float, Field(ge=0, le=1)] = 0.0
    """From which part of the steps on it acts."""
    end: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Until which part of the steps it acts."""
    processor_config: ProcessorConfig | None = None
    """Settings of the processor."""

    @property
    def counts(self) -> bool:
        """Whether it makes any difference."""
        return max(values(self.scale)) > 0 and self.start < self.end

    def contradictions(self, name: str) -> Iterator[Contradiction]:
        if (self.processor is None) == (self.condition is None):
            have = "neither is given" if self.processor is None else "both are given"
            yield Contradiction(
                ("controlnets",), f'{name} takes its condition from "processor" or from "condition"; {have}.'
            )
        if self.start >= self.end:
            yield Contradiction(("controlnets",), f'{name}: "end" ({self.end}) must come after "start" ({self.start}).')


def join_parallel_lists(respelled: Respelled) -> None:
    """Three lists, entry by entry, to one list of ControlNets; messages go on to name the lists."""
    tree = respelled.tree
    lists = {key: tree.pop(key) for key in PARALLEL_LISTS if key in tree}
    if not lists:
        return
    if "controlnets" in tree:
        respelled.problems.append(
            f'"controlnets" and "{next(iter(lists))}" say the same in two ways. Keep one of them.'
        )
        return
    wrong = [key for key, value in lists.items() if not isinstance(value, list)]
    if wrong:
        respelled.problems.extend(f'"{key}" must be a list: […].' for key in wrong)
        return
    lengths = {key: len(value) for key, value in lists.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        respelled.problems.append(f"the lists of the ControlNets must be equally long; {counts}.")
        return
    count = max(lengths.values())
    tree["controlnets"] = [
        {PARALLEL_LISTS[key]: values[index] for key, values in lists.items()} for index in range(count)
    ]
    respelled.aliases.update(
        {
            f"controlnets[{index}].{short}": f"{key}[{index}]"
            for key, short in PARALLEL_LISTS.items()
            for index in range(count)
        }
    )


def select_processor(respelled: Respelled, net: Any) -> Any:
    if not isinstance(net, dict):
        return net
    one = Respelled(dict(net))
    if "processor" in one.tree:
        one.tree["processor"] = canonical_name(one.tree["processor"])
    select(one, "processor", "processor_config", PROCESSOR_NAMES)
    respelled.problems.extend(one.problems)
    return one.tree
