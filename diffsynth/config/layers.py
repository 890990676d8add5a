"""Configs as text: JSON files, their `extends` chain, and `--set` overrides, merged into one plain tree.

Every string of the tree remembers the folder that its relative paths start from, so that a value keeps its meaning
wherever it was inherited.
"""

import difflib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from diffsynth.errors import ConfigError, MissingFileError

# A config's settings belong to the part it names: they are not inherited by another part.
SELECTORS = {"smoother": "smoother_config", "post_smoother": "post_smoother_config"}
MAXIMUM_BYTES = 4_000_000
MAXIMUM_PARENTS = 40
MAXIMUM_NESTING = 40
MAXIMUM_DIGITS = 40
DEEP = "{}: nested too deeply for a config; " + f"{MAXIMUM_NESTING} levels are allowed."
UNSET = re.compile(r"\$\{?([A-Za-z_]\w*)")


class Sourced(str):  # noqa: SLOT000 - a str with an attribute cannot have slots
    """A string with the folder that a relative path in it starts from."""

    base: Path

    def __new__(cls, text: str, base: Path) -> Self:
        self = super().__new__(cls, text)
        self.base = base
        return self


@dataclass(frozen=True)
class Override:
    """One `key=value` of the command line: a dotted place in the config, and the text that was given."""

    keys: tuple[str, ...]
    text: str

    @classmethod
    def parse(cls, argument: str) -> "Override":
        key, equals, text = argument.partition("=")
        keys = tuple(key.strip().split("."))
        if not equals or not all(keys):
            raise ConfigError(
                [f'--set {argument}: expected key=value, for example --set video.codec=hevc or "prompt=a fox".']
            )
        if len(keys) > MAXIMUM_NESTING:
            raise ConfigError([f"--set {key[:40]}…: nested too deeply for a config ({len(keys)} keys)."])
        return cls(keys, text)

    @classmethod
    def of(cls, key: str, value: str) -> "Override":
        """An override whose value is this text, whatever JSON would make of it."""
        return cls((key,), json.dumps(value))

    @property
    def value(self) -> Any:
        """The text read as JSON (`10`, `true`, `[0, 1]`, `null`), or the text itself where it isn't JSON."""
        try:
            value = json.loads(self.text, parse_constant=_refuse_constant, parse_int=_integer)
        except (ValueError, RecursionError):
            return self.text
        return self.text if _is_deep(value) else value


def expand(text: str) -> Path:
    """The path that a text names, with `~` and environment variables in it; a `ValueError` says what is wrong."""
    unset = next((each[1] for each in UNSET.finditer(text) if each[1] not in os.environ), None)
    if unset:
        raise ValueError(f'names the environment variable "{unset}", which is not set')
    try:
        return Path(os.path.expandvars(text)).expanduser()
    except RuntimeError:
        raise ValueError("starts with the home folder of somebody who is not known here") from None


def read(path: Path) -> dict[str, Any]:
    """The merged tree of a config file and of all that it extends. Strings come back as `Sourced`."""
    return _read(path.absolute(), ())


def _read(path: Path, trail: tuple[Path, ...]) -> dict[str, Any]:
    if path in trail:
        chain = " → ".join(each.name for each in (*trail, path))
        raise ConfigError([f"{path}: the configs extend each other in a circle: {chain}."])
    if len(trail) > MAXIMUM_PARENTS:
        raise ConfigError([f"{trail[0]}: more than {MAXIMUM_PARENTS} configs extend one another."])
    try:
        tree = _parse(path)
    except MissingFileError as error:
        raise MissingFileError(f"{error} It is what {trail[-1]} extends." if trail else str(error)) from None
    parent = tree.pop("extends", None)
    sourced: dict[str, Any] = source(tree, path.parent)
    if parent is None:
        return sourced
    if not isinstance(parent, str) or not parent:
        raise ConfigError([f'{path}: "extends" must be the path of another config file.'])
    try:
        place = (path.parent / expand(parent)).resolve()
    except ValueError as error:
        raise ConfigError([f'{path}: "extends" is "{parent}"; it {error}.']) from None
    return merge(_read(place, (*trail, path)), sourced)


def _parse(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAXIMUM_BYTES:
            raise ConfigError([f"{path}: too large for a config ({path.stat().st_size} bytes)."])
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise MissingFileError(f"{path}: there is no such config file.{_nearest_file(path)}") from None
    except IsADirectoryError:
        raise ConfigError([f"{path}: this is a folder; name the config file in it."]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: this is not a text file; a config is JSON in UTF-8."]) from None
    try:
        tree = json.loads(
            text, object_pairs_hook=_object_without_duplicates, parse_constant=_refuse_constant, parse_int=_integer
        )
    except json.JSONDecodeError as error:
        raise ConfigError(
            [f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}.{_json_hint(text, error)}"]
        ) from None
    except RecursionError:
        raise ConfigError([DEEP.format(path)]) from None
    except ValueError as error:
        raise ConfigError([f"{path}: {error}"]) from None
    if _is_deep(tree):
        raise ConfigError([DEEP.format(path)])
    if not isinstance(tree, dict):
        raise ConfigError([f"{path}: a config is a JSON object: {{…}}."])
    return tree


def _nearest_file(path: Path) -> str:
    siblings = sorted(each.name for each in path.parent.glob("*.json")) if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, siblings, n=1)
    return f" Did you mean {near[0]}?" if near else ""


def _json_hint(text: str, error: json.JSONDecodeError) -> str:
    before = text[: error.pos].rstrip()
    if before.endswith(",") or text[error.pos : error.pos + 1] in "]}" or "trailing comma" in error.msg:
        return " JSON allows no comma after the last entry."
    if text[error.pos : error.pos + 1] == "'":
        return ' JSON strings take double quotes: "…".'
    if text[error.pos : error.pos + 2] in ("//", "/*"):
        return " JSON has no comments."
    return ""


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in pairs:
        if key in tree:
            raise ValueError(f'the key "{key}" appears twice in one object; keep one.')
        tree[key] = value
    return tree


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number that JSON knows.")


def _integer(text: str) -> int:
    if len(text) > MAXIMUM_DIGITS:
        raise ValueError(f"a whole number of {len(text)} digits is too long.")
    return int(text)


def _is_deep(tree: Any) -> bool:
    level = [tree]
    for _ in range(MAXIMUM_NESTING):
        level = [inner for each in level for inner in _entries(each)]
    return bool(level)


def _entries(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def source(value: Any, base: Path) -> Any:
    """The same tree with every string tied to `base`."""
    match value:
        case str():
            return Sourced(value, base)
        case dict():
            return {key: source(each, base) for key, each in value.items()}
        case list():
            return [source(each, base) for each in value]
        case _:
            return value


def merge(parent: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    """`child` over `parent`: objects merge key by key, anything else is replaced.

    Values by frame are one whole: key frames of both, mixed, would be a movement that nobody wrote.

    A child that names another smoother starts with that smoother's defaults, not with the settings of the parent's.
    """
    merged = dict(parent)
    for selector, settings in SELECTORS.items():
        if selector in child and child[selector] != parent.get(selector):
            merged.pop(settings, None)
    for key, value in child.items():
        before = merged.get(key)
        whole = is_by_frame(value)
        merged[key] = (
            merge(before, value) if isinstance(before, dict) and isinstance(value, dict) and not whole else value
        )
    return merged


def is_by_frame(value: Any) -> bool:
    """Whether an object's keys are numbers of frames."""
    return isinstance(value, dict) and bool(value) and all(key.isdecimal() for key in value)


def apply(tree: dict[str, Any], overrides: Iterable[Override], base: Path) -> dict[str, Any]:
    """The tree with each override set at its place; objects on the way are made, list entries must exist."""
    for override in overrides:
        nested = _nest(tree, override.keys, source(override.value, base), override)
        tree = merge(tree, nested)
    return tree


def _nest(tree: Any, keys: Sequence[str], value: Any, override: Override) -> Any:
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    if isinstance(tree, list):
        if not key.isdecimal() or int(key) >= len(tree):
            raise ConfigError(
                [f'--set {".".join(override.keys)}: no entry "{key}" in that list of {len(tree)}, counted from 0.']
            )
        changed = _nest(tree[int(key)], rest, value, override)
        if isinstance(changed, dict) and isinstance(tree[int(key)], dict):
            changed = merge(tree[int(key)], changed)
        return [changed if index == int(key) else each for index, each in enumerate(tree)]
    below = tree.get(key) if isinstance(tree, dict) else None
    beside = tree if is_by_frame(tree) else {}
    return {**beside, key: _nest(below, rest, value, override)}
