"""YAML configs of other systems, read as plain trees: each key is taken once, and what nobody took is told."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffsynth.errors import ConfigError

SUFFIXES = (".yaml", ".yml")
MOST_BYTES = 50_000
MOST_BRACKETS = 300
"""The time to read nested ones grows with the square of their depth."""
MOST_VALUES = 10_000
"""Counted as they are written out: a few hundred bytes of anchors can stand for billions."""
EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")
DATE = "tag:yaml.org,2002:timestamp"


def read_yaml(path: Path) -> dict[str, Any]:
    """The tree of a YAML file; empty where it is none that can be read."""
    try:
        return parsed(path)
    except ConfigError:
        return {}


def parsed(path: Path) -> dict[str, Any]:
    """The tree of a YAML file; empty where its name says that it is none. `ConfigError` says what is wrong in it.

    No tag in it makes an object. `1e-4` is a number, as its writers meant it, and dates are texts.
    """
    if path.suffix.lower() not in SUFFIXES:
        return {}
    if (size := path.stat().st_size) > MOST_BYTES:
        raise ConfigError([f"{path}: has {size} bytes; no config is larger than {MOST_BYTES}. Name the config's file."])
    import yaml

    class Plain(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012  as the library spells it
            first: [each for each in known if each[0] != DATE]
            for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    Plain.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, list("-+0123456789"))
    try:
        tree = yaml.load(_text(path), Plain)  # noqa: S506  a safe loader
    except yaml.MarkedYAMLError as problem:
        line = "" if problem.problem_mark is None else f", line {problem.problem_mark.line + 1}"
        raise ConfigError([f"{path}{line}: is no YAML of plain values ({problem.problem}). Mend that line."]) from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as problem:
        words = f"is no YAML of plain values ({str(problem).splitlines()[0][:200]})"
        raise ConfigError([f"{path}: {words}. Write it plainly, as text in UTF-8."]) from None
    if odd := _oddity(tree):
        raise ConfigError([f"{path}: holds {odd}. A config holds texts, numbers and lists of them. Write it plainly."])
    if not isinstance(tree, dict):
        raise ConfigError([f"{path}: holds no keys. A config is a table of keys and values."])
    return tree


def _text(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if text.count("[") + text.count("{") > MOST_BRACKETS:
        raise ValueError(f"more than {MOST_BRACKETS} brackets")
    return text


def _oddity(tree: object) -> str | None:
    """What no config holds, and JSON can't."""
    left, count = [tree], 0
    while left:
        each, count = left.pop(), count + 1
        if count > MOST_VALUES:
            return f"more than {MOST_VALUES} values, written out"
        match each:
            case dict():
                left += [*each, *each.values()]
            case list():
                left += each
            case float() if not math.isfinite(each):
                return f"the number {each}"
            case str() | bool() | int() | float() | None:
                pass
            case _:
                return f"a value of the kind {type(each).__name__}"
    return None


class Keys:
    """The keys of one config, and what becomes of each."""

    def __init__(self, tree: Mapping[str, Any], where: Path) -> None:
        self._left = {name: value for name, value in tree.items() if not isinstance(value, dict)}
        for section, part in tree.items():
            if isinstance(part, dict):
                self._left.update({f"{section}.{name}": value for name, value in part.items()})
        self._where = where
        self._words: list[str] = []

    def take(self, name: str, default: Any = None) -> Any:
        """A key's value; `1e6` is a whole number."""
        value = self._left.pop(name, None)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return default if value is None else value

    def count(self, name: str, default: int | None = None) -> int:
        """A whole number from 1 on. One without a `default` is needed."""
        value = self.need(name) if default is None else self.take(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError([f'{self._where}: "{name}" is {value!r}. Give it a whole number from 1 on.'])
        return value

    def need(self, name: str) -> Any:
        if self._left.get(name) is None:
            raise ConfigError([f'{self._where}: has no "{name}", which its kind of config always has.'])
        return self.take(name)

    def expect(self, name: str, known: Any, why: str) -> None:
        """A key that we have one value for."""
        found = self.take(name, known)
        if found != known:
            self._words.append(f'"{name}": {found} has no counterpart: {why}.')

    def drop(self, name: str, why: str) -> None:
        """A key that nothing here corresponds to."""
        if self._left.pop(name, None) is not None:
            self._words.append(f'"{name}" has no counterpart: {why}.')

    def say(self, words: str) -> None:
        self._words.append(words)

    def words(self) -> tuple[str, ...]:
        """What became of keys that do not simply have another name here."""
        unknown = [
            f'"{name}" is not known, and was left out.' for name, value in self._left.items() if value is not None
        ]
        return (*self._words, *unknown)


def present(**values: Any) -> dict[str, Any]:
    """Those that are something."""
    return {key: value for key, value in values.items() if value is not None}
