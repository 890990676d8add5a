"""From pydantic's list of errors to sentences a user can act on."""

import difflib
import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from diffsynth.config.keyed import TAGS
from diffsynth.errors import ConfigError

TYPE_WORDS = {
    "string_type": "must be text in quotes",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list: […]",
    "list_type": "must be a list: […]",
    "dict_type": "must be an object: {…}",
    "model_type": "must be an object: {…}",
    "model_attributes_type": "must be an object: {…}",
}
"""What pydantic's type errors mean to somebody who edits JSON."""

LIMIT_WORDS = {
    "greater_than": ("must be greater than", "gt"),
    "greater_than_equal": ("must be at least", "ge"),
    "less_than": ("must be less than", "lt"),
    "less_than_equal": ("must be at most", "le"),
}

Place = tuple[int | str, ...]
Checked = TypeVar("Checked", bound=BaseModel)


def place_name(place: Place) -> str:
    """`("controlnets", 1, "scale")` as users write it: `controlnets[1].scale`."""
    name = ""
    for key in place:
        name += f"[{key}]" if isinstance(key, int) else f".{key}" if name else key
    return name


def nearest(word: str, known: Iterable[str]) -> str:
    """`Did you mean "…"?` where something known is close, else nothing."""
    folded = {each.lower(): each for each in known}
    near = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    return f' Did you mean "{folded[near[0]]}"?' if near else ""


def unknown_name(kind: str, word: object, known: Iterable[str]) -> str:
    """The sentence for a name that is none of the known ones."""
    names = sorted(known)
    return f'{kind} "{word}" is unknown.{nearest(str(word), names)}\n  Known: {", ".join(names)}.'


def explain(error: ValidationError, model: type[BaseModel], aliases: Mapping[str, str]) -> dict[Place, str]:
    """One sentence for each thing wrong, by its place.

    `aliases` renames places that a config may spell in another way, `{"controlnets[0].scale": "controlnet_scale[0]"}`.
    """
    sentences: dict[Place, str] = {}
    for detail in error.errors(include_url=False):
        place, owner = _follow(detail["loc"], model)
        name = aliases.get(place_name(place), place_name(place))
        sentences.setdefault(place, _sentence(detail, name, place, owner))
    return sentences


def checked(
    model: type[Checked], tree: Mapping[str, Any], where: str, aliases: Mapping[str, str] = MappingProxyType({})
) -> Checked:
    """What a table that is no user's config file describes; `ConfigError` begins each sentence with `where`."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise ConfigError([f"{where}: {each}" for each in explain(error, model, aliases).values()]) from None


def _follow(loc: Place, model: type[BaseModel]) -> tuple[Place, type[BaseModel]]:
    """The place in the config's own terms, and the model that it lies in.

    Pydantic puts the tag of a union's member into its places, and a mark where a key is wrong; the config doesn't hold
    them there.
    """
    place: list[int | str] = []
    candidates = [model]
    owner = model
    for key in loc:
        if key in TAGS or key == "[key]":
            continue
        tagged = [each for each in candidates if key in _tags(each)]
        if tagged:
            candidates, owner = tagged, tagged[0]
            continue
        place.append(key)
        if isinstance(key, str):
            owner = candidates[0] if candidates else owner
            fields = [each.model_fields[key] for each in candidates if key in each.model_fields]
            candidates = [inner for field in fields for inner in _models_in(field.annotation)]
    return tuple(place), owner


def _tags(model: type[BaseModel]) -> tuple[object, ...]:
    tag = model.model_fields.get("type")
    return get_args(tag.annotation) if tag else ()


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [each for argument in get_args(annotation) for each in _models_in(argument)]


def _sentence(detail: ErrorDetails, name: str, place: Place, owner: type[BaseModel]) -> str:
    kind, found, context = detail["type"], _shown(detail.get("input")), detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(name, str(place[-1]), owner)
    if kind == "missing":
        return f'"{name}" is required.{_purpose(owner, place)}'
    if kind == "literal_error":
        allowed = [each.strip(" '") for each in str(context["expected"]).replace(" or ", ", ").split(",")]
        return unknown_name(name, detail.get("input"), allowed)
    if kind == "union_tag_invalid":
        return unknown_name(
            f"{name}.type", context["tag"], [each.strip(" '") for each in context["expected_tags"].split(",")]
        )
    if kind == "union_tag_not_found":
        return f'"{name}.type" is required: it names which one is meant.'
    if kind in LIMIT_WORDS:
        words, key = LIMIT_WORDS[kind]
        return f'"{name}" is {found}; it {words} {context[key]}.'
    if kind in ("too_short", "string_too_short"):
        return f'"{name}" is {found}; it must not be empty.'
    if kind in TYPE_WORDS:
        return f'"{name}" is {found}; it {TYPE_WORDS[kind]}.'
    if kind == "missing_file":
        return f'"{name}": {context["sentence"]}'
    if kind in ("path", "problem"):
        return f'"{name}" is {found}; it {detail["msg"]}.' if name else f"{detail['msg']}."
    message = detail["msg"].removeprefix("Value error, ")
    return f'"{name}" is {found}: {message}.' if name else f"{message}."


def _unknown_key(name: str, key: str, owner: type[BaseModel]) -> str:
    known = [each for each in owner.model_fields if each != "type"]
    return f'"{name}" is not a known key.{nearest(key, known)}\n  Known: {", ".join(sorted(known))}.'


def _purpose(owner: type[BaseModel], place: Place) -> str:
    field: FieldInfo | None = owner.model_fields.get(str(place[-1]))
    return f" It is {field.description[0].lower()}{field.description[1:]}" if field and field.description else ""


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):
        text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
