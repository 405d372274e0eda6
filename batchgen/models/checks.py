"""Is this input one the model takes? The part of JSON Schema the catalog uses."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from batchgen.findings import Mistake
from batchgen.patterns import pattern
from batchgen.spelling import hint, listed

Path = tuple[str | int, ...]
_Found = Iterator[Mistake]
Rule = Callable[[Mapping[str, Any]], Iterator[Mistake]]

LONG_PROMPT = 1500
_HALF = pattern("[\ud800-\udfff]")
SHORT_SCENE = 3


def check(
    value: Any, schema: Mapping[str, Any], path: Path, title: str
) -> Iterator[Mistake]:
    """Hold one value against one schema."""
    name = next((str(part) for part in reversed(path) if isinstance(part, str)), "it")
    if "enum" in schema:
        if value not in schema["enum"]:
            yield _not_allowed(name, value, schema["enum"], path, title)
        return
    test = _TYPES.get(schema.get("type", ""))
    if test is not None:
        yield from test(value, schema, path, title)


def _integer(value: Any, schema: Mapping[str, Any], path: Path, _: str) -> _Found:
    name = path[-1]
    unit = "whole seconds" if name == "duration" else "a whole number"
    if isinstance(value, float):
        fix = listed((int(value // 1), int(value // 1) + 1), "or")
        message = f"{name} is {unit}, got {value:g}"
        yield Mistake(path, "not-whole", message, fix=fix)
    elif isinstance(value, bool) or not isinstance(value, int):
        message = f"{name} is {unit}, got {shown(value)}"
        yield Mistake(path, "wrong-type", message, "write a plain number, such as 5")
    else:
        yield from _range(value, schema, path)


def _number(value: Any, schema: Mapping[str, Any], path: Path, _: str) -> _Found:
    if isinstance(value, bool) or not isinstance(value, int | float):
        message = f"{path[-1]} is a number, got {shown(value)}"
        yield Mistake(path, "wrong-type", message, "write a plain number, such as 0.5")
    else:
        yield from _range(value, schema, path)


def _range(value: float, schema: Mapping[str, Any], path: Path) -> _Found:
    low, high = schema.get("minimum"), schema.get("maximum")
    if (low is None or value >= low) and (high is None or value <= high):
        return
    if low is not None and high is not None:
        bounds = f"it runs from {low} to {high}"
        label = f"choose {low} to {high}"
        if high == 1 and 1 < value <= 10:  # noqa: PLR2004 - 5 of 10 is 0.5
            label = f"did you mean {value / 10:g}?"
    else:
        bounds = f"at least {low}" if high is None else f"at most {high}"
        label = f"it must be {bounds}"
    message = f"{path[-1]} is {shown(value)}, but {bounds}"
    yield Mistake(path, "out-of-range", message, label)


def _boolean(value: Any, _: Mapping[str, Any], path: Path, __: str) -> _Found:
    if not isinstance(value, bool):
        message = f"{path[-1]} is true or false, got {shown(value)}"
        yield Mistake(path, "wrong-type", message, "write true or false")


def _string(value: Any, schema: Mapping[str, Any], path: Path, _: str) -> _Found:
    name = path[-1] if isinstance(path[-1], str) else path[0]
    if not isinstance(value, str):
        message = f"{name} is text, got {shown(value)}"
        yield Mistake(path, "wrong-type", message, "put it in quotes")
    elif len(value) > schema.get("maxLength", len(value)):
        message = (
            f"{name} has {len(value):,} characters, "
            f"but {schema['maxLength']:,} is the limit"
        )
        yield Mistake(path, "too-long", message)
    elif _HALF.search(value):
        message = f"{name} has half a character in it"
        yield Mistake(path, "bad-text", message, "a lone surrogate: write it again")
    elif len(value.strip()) < schema.get("minLength", 0):
        yield Mistake(path, "empty-text", f"{name} is empty")


def _array(value: Any, schema: Mapping[str, Any], path: Path, title: str) -> _Found:
    if not isinstance(value, list):
        message = f"{path[-1]} is a list, got {shown(value)}"
        yield Mistake(path, "wrong-type", message, "write a list: [ ... ]")
        return
    if len(value) > schema.get("maxItems", len(value)):
        limit = schema["maxItems"]
        message = f"{path[-1]} has {len(value)} entries, but {limit} is the limit"
        yield Mistake(path, "too-many-items", message)
    for index, item in enumerate(value):
        yield from check(item, schema.get("items", {}), (*path, index), title)


def _object(value: Any, schema: Mapping[str, Any], path: Path, title: str) -> _Found:
    if not isinstance(value, Mapping):
        name = next((part for part in reversed(path) if isinstance(part, str)), "it")
        message = f"an entry of {name} is a map, got {shown(value)}"
        yield Mistake(path, "wrong-type", message)
        return
    known = schema.get("properties", {})
    for key in schema.get("required", ()):
        if key not in value:
            yield Mistake(path, "missing-key", f"`{key}` is missing here")
    for key, inner in value.items():
        if key in known:
            yield from check(inner, known[key], (*path, key), title)
        elif not schema.get("additionalProperties", True):
            yield unknown(key, known, (*path, key))


_TYPES: dict[str, Callable[[Any, Mapping[str, Any], Path, str], _Found]] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "string": _string,
    "array": _array,
    "object": _object,
}


def sound(schema: Mapping[str, Any]) -> Callable[[Any], bool]:
    """A quick yes for one schema; where it says no, `check` finds the words."""
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    if "enum" in schema:
        choices = frozenset(schema["enum"])
        return lambda value: type(value) is str and value in choices
    match schema.get("type"):
        case "integer":
            return lambda value: type(value) is int and low <= value <= high
        case "number":
            return lambda value: type(value) in (int, float) and low <= value <= high
        case "boolean":
            return lambda value: type(value) is bool
        case "string":
            least, most = schema.get("minLength", 0), schema.get("maxLength", math.inf)
            return lambda value: (
                type(value) is str
                and len(value) <= most
                and (value.isascii() or not _HALF.search(value))
                and len(value.strip()) >= least
            )
        case _:
            return lambda _: False


def unknown(
    key: str, known: Mapping[str, Any], path: Path, noun: str = "field"
) -> Mistake:
    """A name that is not one of the known ones."""
    return Mistake(
        path, "unknown-key", f"unknown {noun} `{key}`", hint(str(key), known)
    )


def shown(value: Any) -> str:
    """A value as the author may have typed it."""
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return "nothing"
        case Mapping():
            return "a map"
        case list() | tuple():
            return "a list"
        case str():
            return value if len(value) <= 40 else value[:39] + "…"  # noqa: PLR2004
        case _:
            return f"{value:g}" if isinstance(value, float) else str(value)[:40]


def _not_allowed(
    name: str, value: Any, choices: list[Any], path: Path, title: str
) -> Mistake:
    if not isinstance(value, str):
        message = f"{name} is one of {listed(choices)}, got {shown(value)}"
        return Mistake(path, "wrong-type", message)
    message = f"{title} has no {name.replace('_', ' ')} {shown(value)}"
    return Mistake(path, "not-allowed", message, f"choose {listed(choices, 'or')}")


def prompt_or_scenes(fields: Mapping[str, Any]) -> _Found:
    """A prompt, or scenes, and both only where the model cuts."""
    prompt, scenes = fields.get("prompt"), fields.get("multi_prompt")
    by_model = str(fields.get("shot_type", "customize")).startswith("intelligen")
    if not prompt and not scenes:
        yield Mistake(("prompt",), "no-prompt", "this task has no prompt")
    elif scenes and by_model:
        message = "shot_type intelligent lets the model cut, so it takes no scenes"
        yield Mistake(("multi_prompt",), "not-together", message)
    elif prompt and scenes:
        message = "a task has a prompt or scenes, not both"
        yield Mistake(("multi_prompt",), "not-together", message)


def scene_length(fields: Mapping[str, Any]) -> _Found:
    """Scene lengths add up to the clip's."""
    scenes = fields.get("multi_prompt")
    if not isinstance(scenes, list) or not scenes:
        return
    lengths = [scene.get("duration") for scene in scenes if isinstance(scene, dict)]
    whole = [length for length in lengths if type(length) is int]
    for index, length in enumerate(lengths):
        if type(length) is int and 0 < length < SHORT_SCENE:
            path = ("multi_prompt", index, "duration")
            message = f"scenes under {SHORT_SCENE} s may be refused by the service"
            yield Mistake(path, "short-scene", message, severity="warning")
    duration = fields.get("duration", 5)
    if len(whole) == len(scenes) and sum(whole) != duration:
        total = sum(whole)
        yield Mistake(
            ("multi_prompt",),
            "scene-length",
            f"scenes add up to {total} s, but duration is {shown(duration)}",
            " + ".join(map(str, whole)),
            f"duration: {total}, or shorten a scene. "
            "Scene lengths are optional: drop them to let the model cut.",
        )


def long_prompt(fields: Mapping[str, Any]) -> _Found:
    """A prompt so long that the service may not read it to its end."""
    prompt = fields.get("prompt")
    if isinstance(prompt, str) and LONG_PROMPT < len(prompt) <= 2500:  # noqa: PLR2004
        message = f"prompt has {len(prompt):,} characters; past 1,500 is untried"
        yield Mistake(("prompt",), "long-prompt", message, severity="warning")


def element_named(fields: Mapping[str, Any]) -> _Found:
    """An element with a name does nothing unless the prompt says the name."""
    elements, scenes = fields.get("element_list"), fields.get("multi_prompt")
    texts = [fields.get("prompt"), *(scenes if isinstance(scenes, list) else ())]
    said = " ".join(
        str(text.get("prompt", "") if isinstance(text, Mapping) else text)
        for text in texts
    ).casefold()
    for index, element in enumerate(elements if isinstance(elements, list) else ()):
        name = element.get("element_id") if isinstance(element, Mapping) else None
        place = index + 1
        if f"<<<element_{place}>>>" in said or f"element {place}" in said:
            continue
        if not isinstance(name, str) or name.isdigit() or name.startswith("sha256:"):
            continue  # it has no name that a prompt could say
        if name.casefold() not in said:
            message = f"the prompt never names the element {shown(name)}"
            label = "say its name where it appears"
            path = ("element_list", index)
            yield Mistake(path, "unnamed-element", message, label, severity="warning")


def end_image_alone(fields: Mapping[str, Any]) -> _Found:
    """A last frame belongs to a clip of one scene."""
    if fields.get("end_image") and fields.get("multi_prompt"):
        message = "end_image and scenes do not go together"
        yield Mistake(("end_image",), "not-together", message)


NEEDS = {
    "scene-length": "multi_prompt",
    "element-named": "element_list",
    "end-image-alone": "end_image",
}
RULES: dict[str, Rule] = {
    "prompt-or-scenes": prompt_or_scenes,
    "scene-length": scene_length,
    "long-prompt": long_prompt,
    "element-named": element_named,
    "end-image-alone": end_image_alone,
}
