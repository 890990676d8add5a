"""`stylize`: a clip, a prompt and ControlNets in; a stylized clip that holds still where the source does out."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from diffsynth import hub
from diffsynth.config import ConfigModel, Contradiction, ModelRef, OptionalPath, Respelled, select
from diffsynth.config.fields import ExistingPath, hub_id
from diffsynth.errors import UnavailableError
from diffsynth.processors import PROCESSOR_NAMES, ProcessorConfig, ProcessorName, canonical_name
from diffsynth.runtime import Runtime
from diffsynth.smoothers import SmootherConfig, SmootherName
from diffsynth.tasks.base import Prediction, Task
from diffsynth.tasks.clip import ClipTaskConfig

PARALLEL_LISTS = {"controlnet_model_id": "model_id", "controlnet_processor": "processor", "controlnet_scale": "scale"}
"""The seed's three lists of the same length, and the key of one ControlNet that each of them holds."""
LIST_SCHEMAS: dict[str, dict[str, Any]] = {
    key: {"type": "array", "description": f"`{short}` of each of the `controlnets`, as an older spelling."}
    for key, short in PARALLEL_LISTS.items()
}
REFERENCE = re.compile(r"reference_(\d+)")


def _pattern_entry(value: Any) -> int | str:
    if (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, str) and REFERENCE.fullmatch(value)
    ):
        return value
    raise PydanticCustomError(
        "path", 'must be a frame offset like -1, 0 or 1, or "reference_k" for the k-th of frames_reference', {}
    )


PatternEntry = Annotated[
    Any,
    BeforeValidator(_pattern_entry),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": r"^reference_\d+$"}]}),
]


def _none_is_empty(value: Any) -> Any:
    """The seed says to leave the list empty, which its configs do with `[]`, `null` and `""`."""
    return () if value in (None, "") else value


class ControlNetConfig(ConfigModel):
    """One ControlNet, what it looks at, and how much it counts."""

    model_id: ModelRef
    """A local folder, or an id on the hub."""
    processor: ProcessorName
    """What turns frames into the condition."""
    scale: Annotated[float, Field(ge=0)] = 1.0
    """Weight of this net; 0 switches it off."""
    processor_config: ProcessorConfig | None = None
    """Settings of the processor."""


class StylizeConfig(ClipTaskConfig):
    """Stylize a clip by a prompt, ControlNets and, where wanted, a style image or reference frames."""

    USES_DEVICE = True
    OLDER_SPELLINGS: ClassVar[Mapping[str, dict[str, Any]]] = LIST_SCHEMAS

    task: Literal["stylize"] = "stylize"
    """Stylize a clip."""
    model_id: ModelRef
    """The Stable Diffusion checkpoint: a local folder, or an id on the hub."""
    prompt: str
    """What the result shows and how it looks."""
    negative_prompt: str = ""
    """What the result must not show."""
    controlnets: Annotated[tuple[ControlNetConfig, ...], Field(strict=False)] = ()
    """The ControlNets. The lists `controlnet_model_id`, `controlnet_processor` and `controlnet_scale` say the same."""
    style_image: OptionalPath = None
    """The picture that a shuffle ControlNet takes its look from."""
    frames_reference: Annotated[tuple[ExistingPath, ...], Field(strict=False), BeforeValidator(_none_is_empty)] = ()
    """Pictures that frames may attend to, as `reference_0`, `reference_1` and so on."""
    combine_pattern: Annotated[tuple[PatternEntry, ...], Field(strict=False, min_length=1)] = (-10000, -1, 0, 1)
    """What each frame attends to: offsets to other frames (0 is itself; past an end is the end), and references."""
    num_inference_steps: Annotated[int, Field(ge=1, le=1000)] = 20
    """Denoising steps."""
    seed_of_noise: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of the initial noise."""
    img2img_strength: Annotated[float, Field(ge=0, le=1)] = 1.0
    """1 renders from noise alone; less keeps more of the input's own look."""
    smoother: SmootherName | None = None
    """What takes the flicker out between steps; left out, nothing does."""
    smoother_config: SmootherConfig | None = None
    """Settings of the smoother."""
    smoother_interval: Annotated[int, Field(ge=1)] = 1
    """Smooth in the 1st step and in every n-th after it."""
    ignore_smoother_steps: Annotated[int, Field(ge=0)] = 0
    """Leave the last n steps unsmoothed."""
    post_smoother: SmootherName | None = None
    """What smooths the finished frames once more."""
    post_smoother_config: SmootherConfig | None = None
    """Settings of the post-smoother."""
    extra_deflickering_range: Annotated[int, Field(ge=0)] = 0
    """Smooth the finished frames with an EbsynthSmoother over this many neighbours on either side; 0 leaves it out."""

    @classmethod
    def respell(cls, tree: dict[str, Any]) -> Respelled:
        respelled = Respelled(dict(tree))
        _join_parallel_lists(respelled)
        for name in ("smoother", "post_smoother"):
            select(respelled, name, f"{name}_config", get_args(SmootherName))
        nets = respelled.tree.get("controlnets")
        if isinstance(nets, list):
            respelled.tree["controlnets"] = [_select_processor(respelled, net) for net in nets]
        return respelled

    def contradictions(self) -> Iterator[Contradiction]:
        yield from super().contradictions()
        if 0 not in self.combine_pattern:
            yield Contradiction(
                ("combine_pattern",),
                f'"combine_pattern" is {list(self.combine_pattern)}; it must contain 0, the frame itself.',
            )
        count = len(self.frames_reference)
        for entry in self.combine_pattern:
            match = REFERENCE.fullmatch(entry) if isinstance(entry, str) else None
            if match and int(match[1]) >= count:
                have = f"has {count} image{'s' if count != 1 else ''}" if count else "is empty"
                use = f'Use "reference_{count - 1}", or add' if count else "Add"
                yield Contradiction(
                    ("combine_pattern", "frames_reference"),
                    f'combine_pattern names "{entry}", but frames_reference {have}.'
                    f"\n  {use} a path to frames_reference.",
                )
        if (
            any(net.processor == "ControlnetImageProcesserShuffle" for net in self.controlnets)
            and self.style_image is None
        ):
            yield Contradiction(
                ("controlnets", "style_image"),
                'ControlnetImageProcesserShuffle takes its look from "style_image", which is not given.\n  '
                "Add it, or leave that net out.",
            )
        if self.extra_deflickering_range and self.post_smoother:
            yield Contradiction(
                ("extra_deflickering_range", "post_smoother"),
                '"extra_deflickering_range" and "post_smoother" both smooth the finished frames. Keep one of them.',
            )

    def inputs(self) -> dict[str, Path]:
        references = {f"frames_reference[{index}]": path for index, path in enumerate(self.frames_reference)}
        style = {"style_image": self.style_image} if self.style_image else {}
        return {**super().inputs(), **style, **references}

    def predict(self) -> Prediction:
        plain = super().predict()
        settings = [net.processor_config for net in self.controlnets if net.processor_config is not None]
        weights = [model for each in settings for model in each.models()]
        models = dict.fromkeys((self.model_id, *(net.model_id for net in self.controlnets), *weights))
        ids = [each for each in map(hub_id, models) if each]
        remarks = tuple(f"{old} is no longer on the hub; use {hub.MOVED[old]}." for old in ids if old in hub.MOVED)
        return Prediction(
            plain.frames,
            plain.height // 8 * 8,
            plain.width // 8 * 8,
            plain.disk_bytes,
            downloads=tuple(each for each in ids if not hub.is_cached(each)),
            remarks=(*remarks, 'The task "stylize" is not built yet: this config can be checked, but not run.'),
        )

    def build(self, runtime: Runtime) -> Task:
        raise UnavailableError(
            'The task "stylize" is not built yet: its configs can be checked (diffsynth check), but not run. '
            "See CHANGELOG.md for what is there; the task transcode runs."
        )


def _join_parallel_lists(respelled: Respelled) -> None:
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


def _select_processor(respelled: Respelled, net: Any) -> Any:
    if not isinstance(net, dict):
        return net
    one = Respelled(dict(net))
    if "processor" in one.tree:
        one.tree["processor"] = canonical_name(one.tree["processor"])
    select(one, "processor", "processor_config", PROCESSOR_NAMES)
    respelled.problems.extend(one.problems)
    return one.tree
