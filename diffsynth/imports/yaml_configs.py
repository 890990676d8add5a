"""YAML configs of other systems, read as plain trees: each key is taken once, and what nobody took is told."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffsynth.errors import ConfigError

MOST_BYTES = 1_000_000


def read_yaml(path: Path) -> dict[str, Any]:
    """The tree of a YAML file; empty where it is none. No tag in it makes an object."""
    if path.suffix.lower() not in (".yaml", ".yml") or path.stat().st_size > MOST_BYTES:
        return {}
    import yaml

    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return {}
    return tree if isinstance(tree, dict) else {}


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
        """A key's value, as YAML read it; `1e-4`, which YAML takes for a text, is a number."""
        value = self._left.pop(name, None)
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                return value
        return default if value is None else value

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
