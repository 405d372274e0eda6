"""The manifest language as a JSON Schema, for editors and other programs. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from batchgen import names
from batchgen.inspection import RESERVED
from batchgen.keys import Written
from batchgen.models import DEFAULT_MODEL, Catalog

NAME = "batchgen.schema.json"

Schema = dict[str, Any]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_PRICES = ("per_second", "per_task")
_WAYS = ("webhook", "command")
_ABOUT = ("description", "default", "examples")
_SCALAR: Schema = {"type": ["string", "number", "boolean"]}
_VARIABLE: Schema = {
    "type": "string",
    "pattern": r"\$\{",
    "description": "A variable of the environment: ${NAME} or ${NAME:-5}.",
}
_TEMPLATE: Schema = {
    "type": "string",
    "pattern": r"\{\{|\{%|\{#",
    "description": "Filled in for each task: {{ product.seconds }}.",
}
_LATER: list[Schema] = [
    {"$ref": "#/$defs/Template"},
    {"$ref": "#/$defs/Variable"},
    {"type": "null"},
]
_ID: Schema = {"type": ["string", "number"], "description": "A name of its own."}
_TAKES: Schema = {"type": "integer", "minimum": 1, "maximum": 20}
_OUTSIDE: Schema = {"type": "string", "pattern": r"^[^\s/$]+/\S+$"}
_OWN: Schema = {
    "id": _ID | {"description": "Names the task."},
    "labels": {
        "type": "object",
        "additionalProperties": _SCALAR,
        "description": "For reports and file names.",
    },
    "takes": {
        "description": "Clips of this task.",
        "anyOf": [_TAKES, {"$ref": "#/$defs/Variable"}],
    },
}
_EXAMPLES: dict[str, list[Any]] = {
    "name": ["spring-launch"],
    "prompt": ["A {{ product.kind }} by {{ brand }}, {{ hook.scene }}."],
    "prompts": [["A red fox crosses a frozen lake at dawn"], {"from": "briefs.csv"}],
    "settings": [{"duration": 5, "aspect_ratio": "9:16"}],
    "vars": [{"brand": "Aurora"}],
    "matrix": [{"product": {"from": "products.csv", "id": "sku"}}],
    "exclude": [[{"locale": "ja-JP", "aspect_ratio": "16:9"}]],
    "overrides": [[{"when": {"hook": "unbox"}, "set": {"duration": 4}}]],
    "include": [[{"id": "hero-film", "prompt": "A kettle flickers on"}]],
    "takes": [2],
    "budget": [60, {"total": 2000, "session": 400}],
    "elements": [
        {"AuroraMug": "829301"},
        {"Tumbler": {"image": "assets/front.jpg", "description": "Brushed steel"}},
    ],
    "notify": [[{"on": ["failed"], "command": ["logger", "-t", "batchgen"]}]],
    "price": [{"per_second": 0.42}],
    "retry": [3, {"attempts": 3, "backoff": "10s"}],
    "output": ["{{ locale }}/{{ slug }}.mp4"],
}


def text(models: Catalog) -> str:
    """The schema as it stands in a file."""
    return json.dumps(document(models), indent=2, ensure_ascii=False) + "\n"


def document(models: Catalog) -> Schema:
    """The keys of a manifest, with the catalog's request fields in their places."""
    written = Written.model_json_schema()
    _spell(written)
    schema: Schema = _trimmed(written)
    fields = _fields(models)
    schema["$defs"] |= _definitions(fields)
    _place(schema, fields)
    properties = schema["properties"]
    known = sorted({name for model in models for name in (model.alias, model.id)})
    properties["model"] = _either(
        properties["model"] | {"enum": known}, _ref("Variable"), _OUTSIDE
    )
    for key, examples in _EXAMPLES.items():
        properties[key]["examples"] = examples
    head = {
        "$schema": _DRAFT,
        "title": "A manifest of batchgen",
        "allOf": [*_rules(), _priced(known)],
        "patternProperties": {"^x-": True},
    }
    return schema | head


def _spell(written: Schema) -> None:
    """Say how texts with a form of their own are spelled."""
    properties, retry = written["properties"], written["$defs"]["RetryKeys"]
    properties["name"]["anyOf"][0]["pattern"] = f"^{names.FOLDER.pattern}$"
    lengths = [retry["properties"][key] for key in ("backoff", "max_backoff")]
    for length in (*lengths, properties["task_timeout"]):
        length["default"] = f"{length['default']:g}s"
    for part, choices in (("PriceKeys", _PRICES), ("NoticeKeys", _WAYS)):
        written["$defs"][part]["oneOf"] = [{"required": [key]} for key in choices]


def _trimmed(schema: Any) -> Any:
    """Without titles and null defaults, and with `${NAME}` wherever more is asked."""
    if isinstance(schema, list):
        return [_trimmed(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: _trimmed(inner)
        for key, inner in schema.items()
        if not (key == "title" and isinstance(inner, str))
        and not (key == "default" and inner is None)
    }
    if "anyOf" in kept:
        kept["anyOf"] = _flat(kept["anyOf"])
    narrow = kept.get("type") in ("integer", "number", "boolean")
    if not narrow and not {"enum", "const", "pattern"} & kept.keys():
        return kept
    return _either(kept, _ref("Variable"))


def _flat(choices: list[Schema]) -> list[Schema]:
    """Choices of choices as choices."""
    return [
        inner
        for choice in choices
        for inner in (choice["anyOf"] if [*choice] == ["anyOf"] else [choice])
    ]


def _either(schema: Mapping[str, Any], *others: Schema) -> Schema:
    """The same or something else; what is said about it stays outside."""
    about = {key: schema[key] for key in _ABOUT if key in schema}
    core = {key: inner for key, inner in schema.items() if key not in _ABOUT}
    return about | {"anyOf": [core, *others]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _fields(models: Catalog) -> dict[str, Schema]:
    """Every field of every model of clips; the default model speaks first."""
    first = models[DEFAULT_MODEL]
    films = [model for model in models if model.kind.endswith("-to-video")]
    fields: dict[str, Schema] = {}
    for model in (first, *films):
        for name, schema in model.fields.items():
            core = {key: part for key, part in schema.items() if key not in _ABOUT}
            known = fields.setdefault(name, dict(schema) | {"anyOf": []})
            if model is not first and name not in first.fields:
                known.setdefault("description", f"Only of {model.title}.")
            if core not in known["anyOf"]:
                known["anyOf"].append(core)
    return {name: _field(name, schema) for name, schema in fields.items()}


def _field(name: str, schema: Schema) -> Schema:
    about = {key: schema[key] for key in _ABOUT if key in schema}
    bounds = [_bounds(core) for core in schema["anyOf"]]
    said = [about.get("description", ""), *dict.fromkeys(filter(None, bounds))]
    choices = [shape for core in schema["anyOf"] for shape in _shapes(name, core)]
    about["description"] = " ".join(filter(None, said))
    return about | {"anyOf": [*choices, *_LATER]}


def _bounds(core: Schema) -> str:
    if "minimum" in core and "maximum" in core:
        return f"{core['minimum']} to {core['maximum']}."
    return f"At most {core['maxLength']:,} characters." if "maxLength" in core else ""


def _shapes(name: str, core: Schema) -> list[Schema]:
    """A field's schema, and the other spellings that mean the same."""
    if "enum" in core:
        crosses = [choice.replace(":", "x") for choice in core["enum"]]
        other = [cross for cross in crosses if cross not in core["enum"]]
        more = [{"pattern": f"^({'|'.join(other)})$"}] if other else []
        return [core, *({"type": "string"} | one for one in more)]
    if name == "multi_prompt":
        scene = core["items"]
        prompt = _either(scene["properties"]["prompt"], _ref("Template"))
        whole = scene | {"properties": scene["properties"] | {"prompt": prompt}}
        return [core | {"items": {"anyOf": _flat([prompt, whole])}}]
    if name == "element_list":
        plain = {"type": ["string", "integer"]}
        return [core | {"items": {"anyOf": [plain, core["items"]]}}]
    return [core]


def _definitions(fields: Mapping[str, Schema]) -> Schema:
    """What several places have in common."""
    body = {name: _ref(f"field.{name}") for name in fields}
    body["extra"] = _ref("Extra")
    task = {"type": "object", "properties": body | _OWN}
    return {
        "Variable": _VARIABLE,
        "Template": _TEMPLATE,
        "Extra": {
            "type": ["object", "null"],
            "propertyNames": {"not": {"enum": [*fields]}},
            "description": "More of the request's body, passed on unchecked.",
        },
        "Fields": _closed({"type": "object", "properties": body}),
        "Task": _closed(task),
        "Variant": task | {"additionalProperties": {"anyOf": [_SCALAR, _ref("Value")]}},
        "Included": {
            "if": {"anyOf": [{"required": ["prompt"]}, {"required": ["multi_prompt"]}]},
            "then": _ref("Task"),
            "else": _ref("Variant"),
        },
        "Value": {
            "type": "object",
            "description": "One value of an axis: its id, and fields for templates.",
            "properties": {"id": _ID, "set": _ref("Fields")},
            "required": ["id"],
        },
        "Axis": _axis({"anyOf": [_SCALAR, _ref("Value")]}),
        **{f"field.{name}": schema for name, schema in fields.items()},
    }


def _place(schema: Schema, fields: Mapping[str, Schema]) -> None:
    """Put the request fields where a manifest has maps of them."""
    properties = schema["properties"]
    rows, _ = properties["prompts"]["anyOf"][0]["oneOf"]
    rows["items"] = {"anyOf": [{"type": "string"}, _ref("Task")]}
    properties["settings"] = _refer(properties["settings"], "Fields")
    changes = schema["$defs"]["Override"]["properties"]
    changes["set"] = {"minProperties": 1} | _refer(changes["set"], "Fields")
    properties["include"]["items"] = _ref("Included")
    properties["vars"]["propertyNames"] = _unreserved()
    properties["matrix"] |= {
        "propertyNames": _unreserved(),
        "properties": {name: _axis(_setter(name, fields[name])) for name in fields},
        "additionalProperties": _ref("Axis"),
    }


def _setter(name: str, field: Schema) -> Schema:
    """A value of an axis that is named like a field, and so sets it."""
    own = {"required": ["set"], "properties": {"set": {"required": [name]}}}
    named = {"if": own, "else": {"properties": {"id": _ref(f"field.{name}")}}}
    if any(core.get("type") == "array" for core in field["anyOf"]):
        return _ref("Value")
    plain = _ref(f"field.{name}") | {"not": {"type": "null"}}
    return {"anyOf": [plain, _ref("Value") | named]}


def _axis(value: Schema) -> Schema:
    return {"oneOf": [{"type": "array", "minItems": 1, "items": value}, _ref("From")]}


def _unreserved() -> Schema:
    return {"not": {"enum": sorted(RESERVED)}}


def _refer(schema: Schema, name: str) -> Schema:
    return {key: schema[key] for key in _ABOUT if key in schema} | _ref(name)


def _closed(schema: Schema) -> Schema:
    return schema | {"additionalProperties": False}


def _priced(known: Sequence[str]) -> Schema:
    """A model outside the catalog needs a price."""
    stranger = _OUTSIDE | {"not": {"enum": [*known]}}
    named = {"required": ["model"], "properties": {"model": stranger}}
    return {"if": named, "then": {"required": ["price"]}}


def _rules() -> list[Schema]:
    """A manifest has a prompt somewhere, and not twice."""
    prompts = [{"required": ["prompt"]}, {"required": ["multi_prompt"]}]
    in_settings = {
        "required": ["settings"],
        "properties": {"settings": {"anyOf": prompts}},
    }
    twice = {"required": ["prompt", "settings"]} | {
        "properties": {"settings": {"required": ["prompt"]}}
    }
    places = [{"required": [key]} for key in ("prompt", "prompts", "include", "matrix")]
    return [
        {"anyOf": [*places, in_settings]},
        {"not": {"required": ["prompt", "prompts"]}},
        {"not": twice},
    ]
