"""The kinds of value that configs are made of: paths that know where they start, model references, short lists."""

import glob
import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema
from pydantic_core import PydanticCustomError

from diffsynth.config.layers import Sourced, expand

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
GLOB = re.compile(r"[*?\[]")


class ConfigModel(BaseModel):
    """Frozen, strict and closed: a wrong type or an unknown key is an error, never a guess."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def places(text: str) -> list[Path]:
    """Where a path of a config may lead, best first: from the config's own folder, then from the working directory.

    The second place serves the configs of the seed, whose paths start where the program was started.
    """
    folders = (text.base if isinstance(text, Sourced) else Path.cwd(), Path.cwd())
    # "$" and "~" may stand in a name too: what is there under the very text is meant.
    literal = [Path(os.path.normpath(folder / text)) for folder in folders]
    if any(map(os.path.lexists, literal)):
        return list(dict.fromkeys(literal))
    try:
        path = expand(text)
    except ValueError as error:
        raise PydanticCustomError("path", "{sentence}", {"sentence": str(error)}) from None
    return list(dict.fromkeys(Path(os.path.normpath(folder / path)) for folder in folders))


def _text(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    if not isinstance(value, str):
        raise PydanticCustomError("path", "must be a path in quotes", {})
    if not value.strip() or "\0" in value:
        raise PydanticCustomError("path", "must be a path", {})
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        raise PydanticCustomError("path", "must be a path; no file name can hold half a character", {}) from None
    return value


def _existing(value: Any) -> Path:
    text = _text(value)
    tried = places(text)
    for path in tried:
        if path.exists():
            return path
    raise PydanticCustomError("missing_file", "{sentence}", {"sentence": _not_found(text, tried)})


def existing_clip(value: Any) -> Path:
    """The clip that a value of a config names; an error says where it was looked for."""
    text = _text(value)
    tried = places(text)
    for path in tried:
        # Path.glob takes no absolute pattern.
        if path.exists() or (GLOB.search(str(path)) and glob.glob(str(path), recursive=True)):  # noqa: PTH207
            return path
    raise PydanticCustomError("missing_file", "{sentence}", {"sentence": _not_found(text, tried)})


def _output(value: Any) -> Path:
    return places(_text(value))[0]


def _model(value: Any) -> str:
    text = _text(value)
    tried = places(text)
    for path in tried:
        if path.exists():
            return str(path)
    if HUB_ID.fullmatch(text):
        return str(text)
    raise PydanticCustomError(
        "missing_file",
        "{sentence}",
        {"sentence": f'{_not_found(text, tried)} A model is a folder, a file, or an id of the hub like "owner/name"'},
    )


def _not_found(text: str, tried: list[Path]) -> str:
    return f'"{text}" was not found; looked for {" and ".join(str(path) for path in tried)}.'


def _empty_is_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


_PATH_SCHEMA = WithJsonSchema({"type": "string", "format": "path", "minLength": 1})

ExistingPath = Annotated[Path, BeforeValidator(_existing), _PATH_SCHEMA]
"""A file or folder that must be there."""

ClipPath = Annotated[Path, BeforeValidator(existing_clip), _PATH_SCHEMA]
"""A video, a folder of numbered images, a glob of images, or one image; it must be there."""

OutputPath = Annotated[Path, BeforeValidator(_output), _PATH_SCHEMA]
"""A file or folder that is made when needed, always placed from the config's own folder."""

OptionalPath = Annotated[ExistingPath | None, BeforeValidator(_empty_is_none)]
"""An `ExistingPath`; `null` and `""` mean none."""

ModelRef = Annotated[
    str, BeforeValidator(_model), WithJsonSchema({"type": "string", "format": "model", "minLength": 1})
]
"""A local folder or file, else an id on the hub."""


def hub_id(reference: str) -> str | None:
    """The hub id that a `ModelRef` holds, or None where it is a local path."""
    return None if Path(reference).is_absolute() else reference


def local_path(reference: str) -> Path | None:
    """The local path that a `ModelRef` holds, or None where it is a hub id."""
    return Path(reference) if Path(reference).is_absolute() else None
