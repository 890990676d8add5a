"""A config file to a validated, frozen object; everything that is wrong with it in one error."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import ValidationError

from diffsynth.config import layers
from diffsynth.config.fields import ConfigModel, OutputPath
from diffsynth.config.layers import Override, Sourced
from diffsynth.config.problems import explain, unknown_name
from diffsynth.errors import ConfigError

SCHEMA_KEY = "$schema"


@dataclass(frozen=True)
class Contradiction:
    """Keys that are each right and don't go together."""

    keys: tuple[str, ...]
    sentence: str


@dataclass
class Respelled:
    """A config's tree in the present spelling, and how the config itself names what was moved."""

    tree: dict[str, Any]
    aliases: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class TaskConfig(ConfigModel):
    """What every task's config has. A task adds its own keys and `build(runtime)`."""

    INERT: ClassVar[frozenset[str]] = frozenset({"output_path"})
    """Keys that can't change a byte of the result; `a.b` is the key b within a."""
    OLDER_SPELLINGS: ClassVar[Mapping[str, dict[str, Any]]] = {}
    """The schema of each key that `respell` turns into another."""

    task: str
    """What to do."""
    output_path: OutputPath
    """The folder that the result is written to."""

    @classmethod
    def respell(cls, tree: dict[str, Any]) -> Respelled:
        """Turn spellings that only older configs use into the present one."""
        return Respelled(tree)

    def contradictions(self) -> Iterator[Contradiction]:
        """Whatever doesn't go together among keys that are right by themselves."""
        yield from ()

    def to_json(self) -> dict[str, Any]:
        """The resolved config as JSON values; loading it again gives an equal config."""
        return self.model_dump(mode="json", exclude_none=True)


T = TypeVar("T", bound=TaskConfig)


def load(path: Path, kinds: Mapping[str, type[T]], default_task: str, overrides: Iterable[Override] = ()) -> T:
    """Read, merge and validate a config file.

    `kinds` maps each name that `"task"` may have to its config class. Raises `ConfigError` with every problem found.
    """
    tree = layers.apply(layers.read(path), overrides, Path.cwd())
    return validate(tree, kinds, default_task, str(path))


def validate(tree: Mapping[str, Any], kinds: Mapping[str, type[T]], default_task: str, origin: str) -> T:
    """The config object that a merged tree describes; `origin` opens each message."""
    body = {key: value for key, value in tree.items() if key != SCHEMA_KEY}
    task = body.setdefault("task", default_task)
    if not isinstance(task, str) or task not in kinds:
        raise ConfigError([f"{origin}: {unknown_name('task', task, kinds)}"])
    kind = kinds[task]
    respelled = kind.respell(body)
    config, problems = _validate(kind, respelled)
    if config is None or problems:
        raise ConfigError([f"{origin}: {problem}" for problem in (*respelled.problems, *problems)])
    if respelled.problems:
        raise ConfigError([f"{origin}: {problem}" for problem in respelled.problems])
    return config


def _validate(kind: type[T], respelled: Respelled) -> tuple[T | None, list[str]]:
    try:
        config = kind.model_validate(respelled.tree)
    except ValidationError as error:
        problems = explain(error, kind, respelled.aliases)
    else:
        return config, [each.sentence for each in config.contradictions()]
    broken = {str(place[0]) for place in problems if place}
    hidden = [each.sentence for each in _contradictions(kind, respelled.tree, broken) if not broken & set(each.keys)]
    return None, [*problems.values(), *hidden]


def _contradictions(kind: type[T], tree: Mapping[str, Any], broken: set[str]) -> Iterator[Contradiction]:
    """Contradictions among the sound keys of a config that has broken ones, so that all is reported at once.

    Broken keys fall back to their defaults. Those without one are all texts or paths; the working directory stands in.
    """
    required = {name for name, each in kind.model_fields.items() if each.is_required()}
    sound = {key: value for key, value in tree.items() if key not in broken}
    stand_ins = {key: Sourced(".", Path.cwd()) for key in broken & required}
    try:
        config = kind.model_validate({**sound, **stand_ins})
    except ValidationError:
        return
    yield from config.contradictions()


def select(respelled: Respelled, name_key: str, settings_key: str, known: Iterable[str]) -> None:
    """Tell the settings which component they are for: `"smoother": "X"` decides what `"smoother_config"` may hold.

    A component that is named without settings gets its defaults; settings without a component are a problem.
    """
    tree = respelled.tree
    name, settings = tree.get(name_key), tree.get(settings_key)
    if name in ("", None):
        if settings:
            respelled.problems.append(f'"{settings_key}" is given, but "{name_key}" names nothing that it is for.')
        tree.pop(name_key, None)
        tree.pop(settings_key, None)
    elif name not in known:
        tree.pop(settings_key, None)  # the unknown name is the thing to report
    elif settings is None or isinstance(settings, dict):
        if "type" in (settings or {}):
            respelled.problems.append(f'"{settings_key}.type" is not a known key; "{name_key}" names the component.')
        tree[settings_key] = {**(settings or {}), "type": str(name)}
