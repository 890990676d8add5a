"""Values that may change over a clip: `7.5`, or by frame `{"0": 5, "48": 9}`."""

import re
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

STEADY, BY_FRAME, BY_SHOT = "steady", "by frame", "by shot"
TAGS = frozenset({STEADY, BY_FRAME, BY_SHOT})
"""What pydantic puts into the places of such values; no config holds them."""
LAST_FRAME = 10**9
FRAME = re.compile(r"0|[1-9]\d{0,9}", re.ASCII)


def _frame(value: Any) -> int:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    # One spelling only: of "7" and "07", one would be lost.
    if isinstance(text, str) and FRAME.fullmatch(text) and int(text) <= LAST_FRAME:
        return int(text)
    raise PydanticCustomError("path", 'must be the number of a frame in quotes, as in {"0": …, "48": …}', {})


FrameNumber = Annotated[
    int,
    BeforeValidator(_frame),
    WithJsonSchema({"type": "string", "pattern": f"^({FRAME.pattern})$"}, mode="validation"),
]
"""A frame of the clip as it is rendered, counted from 0: in JSON a text, since all keys are."""


def kind_of(value: Any) -> str:
    """Which of its forms such a value has. A list has a meaning for prompts only."""
    return BY_FRAME if isinstance(value, dict) else BY_SHOT if isinstance(value, list | tuple) else STEADY


def _steady_or_by_frame(value: Any) -> str:
    return BY_FRAME if isinstance(value, dict) else STEADY


Value = TypeVar("Value")
ByFrame = Annotated[dict[FrameNumber, Value], Field(min_length=1)]
Keyed = Annotated[
    Annotated[Value, Tag(STEADY)] | Annotated[ByFrame[Value], Tag(BY_FRAME)],
    Discriminator(_steady_or_by_frame),
]
"""One value, or values at key frames."""


def values(keyed: Any) -> tuple[Any, ...]:
    """All values that such a field takes."""
    return tuple(keyed.values()) if isinstance(keyed, dict) else (keyed,)
