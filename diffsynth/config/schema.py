"""What editors and readers know of the configs: JSON Schema, the page of all keys, configs to start from."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from diffsynth.config.load import SCHEMA_KEY, TaskConfig

Schema = dict[str, Any]

FORMAT_WORDS = {"path": "path", "model": "path or hub id"}

COMMON_KEYS: Schema = {
    SCHEMA_KEY: {"type": "string", "description": "Where editors find this schema."},
    "extends": {"type": "string", "description": "Another config whose keys hold where this one has none."},
}


def json_schema(kinds: Mapping[str, type[TaskConfig]], default_task: str) -> Schema:
    """One schema for all configs; `"task"` decides which keys there are."""
    definitions: Schema = {}
    branches = []
    for name, kind in kinds.items():
        definitions |= (one := _task_schema(kind)).pop("$defs", {})
        definitions[name] = one
        named: Schema = {"properties": {"task": {"const": name}}}
        if name != default_task:
            named["required"] = ["task"]
        branches.append({"if": named, "then": {"$ref": f"#/$defs/{name}"}})
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "title": "diffsynth config",
        "type": "object",
        "properties": {"task": {"enum": sorted(kinds), "default": default_task}},
        "allOf": branches,
        "$defs": dict(sorted(definitions.items())),
    }


def _task_schema(kind: type[TaskConfig]) -> Schema:
    schema = kind.model_json_schema()
    required = schema.pop("required", [])
    definitions = schema.get("$defs", {})
    for tagged in {each for one in (schema, *definitions.values()) for each in _select(one)}:
        definitions[tagged.rpartition("/")[2]]["properties"].pop("type")
    schema["properties"] |= {**COMMON_KEYS, **kind.OLDER_SPELLINGS}
    # What is required may be inherited from another config, or stand in an older spelling that has no such key.
    schema["anyOf"] = [{"required": ["extends"]}, {"required": required}]
    return schema


def _select(definition: Schema) -> set[str]:
    """Let `"x"` decide what `"x_config"` may hold: there, the neighbouring key names the component, and not a tag.

    Returns the components that therefore have no tag in a config.
    """
    properties = definition.get("properties", {})
    choices, untagged = [], set()
    for settings, value in properties.items():
        mapping = _mapping(value)
        if mapping and settings.endswith("_config"):
            properties[settings] = {"type": ["object", "null"], "description": value.get("description", "")}
            name = settings.removesuffix("_config")
            untagged |= set(mapping.values())
            choices += [
                {
                    "if": {"properties": {name: {"const": tag}}, "required": [name]},
                    "then": {"properties": {settings: {"$ref": target}}},
                }
                for tag, target in mapping.items()
            ]
    if choices:
        definition["allOf"] = choices
    return untagged


def _mapping(value: Schema) -> dict[str, str]:
    options = [value, *value.get("anyOf", [])]
    return next((each["discriminator"]["mapping"] for each in options if "discriminator" in each), {})


def template(kind: type[TaskConfig], task: str) -> Schema:
    """A config to start from: what is required is empty, everything else stands at its default."""
    tree: Schema = {"task": task}
    for name, field in kind.model_fields.items():
        if field.is_required():
            tree[name] = "output" if name == "output_path" else ""
    defaults = kind.model_construct(**tree).model_dump(mode="json", warnings=False)
    return {**tree, **{key: value for key, value in defaults.items() if key not in tree}}


def reference(kinds: Mapping[str, type[TaskConfig]]) -> str:
    """The page of all keys, in Markdown."""
    lines = ["# Config keys", "", "Made from the code by `diffsynth schema --markdown`; a test keeps it current.", ""]
    components: dict[str, type[BaseModel]] = {}
    for name, kind in kinds.items():
        lines += [f"## Task `{name}`", "", _summary(kind), "", *_table(kind)]
        lines += [
            f"| `{key}` | {_words(value)} | | {value['description']} |" for key, value in kind.OLDER_SPELLINGS.items()
        ]
        lines.append("")
        components |= {each.__name__: each for each in _nested(kind)}
    lines += ["## In every config", "", "| key | value | default | meaning |", "|---|---|---|---|"]
    lines += [f"| `{key}` | {_words(value)} | | {value['description']} |" for key, value in COMMON_KEYS.items()]
    lines.append("")
    for component in components.values():
        title = component.model_fields["type"].default if "type" in component.model_fields else component.__name__
        lines += [f"## `{title}`", "", _summary(component), ""]
        table = _table(component)
        lines += [*table, ""] if len(table) > 2 else ["It has no settings.", ""]
    return "\n".join(lines).rstrip() + "\n"


def _table(kind: type[BaseModel]) -> list[str]:
    properties = kind.model_json_schema()["properties"]
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for name, field in kind.model_fields.items():
        if name == "type":
            continue
        default = "**required**" if field.is_required() else _default(field.get_default(call_default_factory=True))
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        tags = () if name.endswith("_config") else _mapping(properties[name])
        words = f"object; its `type`: {', '.join(f'`{tag}`' for tag in tags)}" if tags else _words(properties[name])
        lines.append(f"| `{name}` | {words} | {default} | {meaning} |")
    return lines


def _default(value: Any) -> str:
    if value is None or isinstance(value, BaseModel):
        return ""
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _words(value: Schema) -> str:
    """A schema in a few words: `number 0 to 1`, `path`, `list of: text`."""
    if _mapping(value):
        return "object: the settings of the component"
    if "oneOf" in value:
        by_shot = ", or by shot" if any(each.get("type") == "array" for each in value["oneOf"]) else ""
        return f"{_words(value['oneOf'][0])}, also by frame{by_shot}"
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_words(each) for each in value["anyOf"] if each.get("type") != "null"))
    if "enum" in value:
        return ", ".join(f"`{each}`" for each in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    if "$ref" in value:
        return f"object: `{value['$ref'].rpartition('/')[2]}`"
    word = {"integer": "whole number", "string": "text", "array": "list", "boolean": "true or false"}.get(
        value.get("type", ""), value.get("type", "object")
    )
    if value.get("format") in FORMAT_WORDS:
        return FORMAT_WORDS[value["format"]]
    if value.get("type") == "array" and "items" in value:
        return f"list of: {_words(value['items'])}"
    low = value.get("minimum", value.get("exclusiveMinimum"))
    high = value.get("maximum", value.get("exclusiveMaximum"))
    if low is not None and high is not None:
        return f"{word} {low} to {high}"
    if low is not None:
        return f"{word} above {low}" if "exclusiveMinimum" in value else f"{word} from {low}"
    return str(word)


def _summary(kind: type[BaseModel]) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]


def _nested(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """All models that a model's fields lead to."""
    for field in kind.model_fields.values():
        yield from _models(field.annotation)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        yield from _nested(annotation)
    for argument in get_args(annotation):
        yield from _models(argument)
