"""`combine_pattern` in a config: a list of entries, or a name."""

from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from diffsynth.attention.patterns import FIRST, LARGEST, NAMES, REFERENCE, Entry, named


def _pattern(value: Any) -> str | tuple[Entry, ...]:
    if isinstance(value, str):
        if named(value) is not None:
            return value
        raise PydanticCustomError(
            "path",
            "{sentence}",
            {"sentence": f"names no pattern; known are {', '.join(NAMES)} (k and n from 1 to {LARGEST})"},
        )
    if isinstance(value, list | tuple) and value and all(map(_is_entry, value)):
        return tuple(value)
    raise PydanticCustomError(
        "path",
        'must be a list of frame offsets like -1, 0 or 1, "first", or "reference_k" for the k-th of frames_reference; '
        "or the name of a pattern",
        {},
    )


def _is_entry(value: Any) -> bool:
    if isinstance(value, str):
        return value in (FIRST, "keyframe_before", "keyframe_after") or REFERENCE.fullmatch(value) is not None
    return isinstance(value, int) and not isinstance(value, bool)


PatternField = Annotated[
    Any,
    BeforeValidator(_pattern),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^(self|first\+previous|seed|sliding\(\d+\)|keys\(\d+\))$"},
                {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "anyOf": [
                            {"type": "integer"},
                            {"type": "string", "pattern": r"^(first|reference_\d+|keyframe_before|keyframe_after)$"},
                        ]
                    },
                },
            ]
        }
    ),
]
