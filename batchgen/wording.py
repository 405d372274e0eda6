"""What pydantic found, in words of our own."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from batchgen import keys
from batchgen.findings import Finding, Mistake
from batchgen.models.checks import shown
from batchgen.readers.nodes import Document, Origin
from batchgen.spelling import hint, near

NOT_YET = {
    ("elements",),
    ("tier",),
    ("deadline",),
    ("task_timeout",),
    ("stop_after_failures",),
    ("notify",),
    ("budget", "session"),
    ("output", "flagged"),
    ("output", "sidecar"),
    ("output", "store"),
}
_PARTS: dict[str, type[BaseModel]] = {
    "prompts": keys.From,
    "matrix": keys.From,
    "overrides": keys.Override,
    "budget": keys.BudgetKeys,
    "price": keys.PriceKeys,
    "retry": keys.RetryKeys,
    "output": keys.OutputKeys,
}

Details = Mapping[str, Any]
Path = tuple[str | int, ...]


def validate(document: Document) -> tuple[keys.Written | None, list[Finding]]:
    """The keys of a document, or everything that is wrong with them."""
    data = document.data
    if not isinstance(data, dict):
        message = "a manifest is a map of keys, such as `prompts:`"
        return None, [Origin(document).error("wrong-type", message)]
    known = {key: value for key, value in data.items() if not key.startswith("x-")}
    try:
        written = keys.Written.model_validate(known)
    except ValidationError as error:
        details = error.errors(include_url=False)
        found = (_finding(detail, document) for detail in details)
        return None, [finding for finding in found if finding is not None]
    return written, []


def _finding(detail: Any, document: Document) -> Finding | None:
    path = tuple(part for part in detail["loc"] if not str(part).startswith("<"))
    if path[:1] == ("prompts",) and len(path) > 2:  # noqa: PLR2004
        return None
    mistake, key = mistake_of(detail, path)
    return Origin(document, path).finding(mistake, key=key)


def mistake_of(detail: Details, path: Path) -> tuple[Mistake, bool]:
    """An error of pydantic in our words, and whether the key is to blame."""
    kind = str(detail["type"])
    context = detail.get("ctx") or {}
    if kind == "extra_forbidden":
        return _unknown(path), True
    if "-" in kind:
        name = _word(path)
        paste = context.get("paste")
        return Mistake(
            (),
            kind,
            str(detail["msg"]).replace("{name}", name),
            context.get("label", ""),
            f"{name}: {paste}" if paste else "",
        ), False
    word = WORDS.get(kind)
    if word is None:
        return Mistake((), "bad-value", f"`{_word(path)}` has another form"), False
    return word(path, detail["input"], context), kind == "missing"


def _unknown(path: Path) -> Mistake:
    word = str(path[-1])
    if path in NOT_YET:
        message = f"`{word}` is not built yet"
        return Mistake((), "not-yet", message, "take it out for now")
    model = keys.Written if len(path) == 1 else _PARTS.get(str(path[0]), keys.Written)
    known = [field.alias or name for name, field in model.model_fields.items()]
    if len(path) == 1 and near(word, known, cutoff=0.75) == "":
        from batchgen.spelling import SYNONYMS  # noqa: PLC0415 - only for a mistake

        meant = SYNONYMS.get(word, "")
        if meant:
            label = f"did you mean `{meant}`, under `settings`?"
            return Mistake((), "unknown-key", f"unknown key `{word}`", label)
    return Mistake((), "unknown-key", f"unknown key `{word}`", hint(word, known))


def _word(path: Path) -> str:
    words = [part for part in path if isinstance(part, str)]
    return words[-1] if words else "this"


def _typed(what: str, label: str = "") -> Callable[[Path, Any, Details], Mistake]:
    def mistake(path: Path, value: Any, _: Details) -> Mistake:
        message = f"`{_word(path)}` is {what}, got {shown(value)}"
        if isinstance(value, float) and what == "a whole number":
            return Mistake((), "not-whole", message)
        return Mistake((), "wrong-type", message, label)

    return mistake


def _bounds(path: Path, value: Any, context: Details) -> Mistake:
    runs = {"takes": (1, 20), "concurrency": (1, 5000)}.get(_word(path), (1, 20))
    del context
    message = (
        f"{_word(path)} is {shown(value)}, but it runs from {runs[0]} to {runs[1]:,}"
    )
    return Mistake((), "out-of-range", message)


def _short(path: Path, _: Any, __: Details) -> Mistake:
    word = _word(path)
    if word == "prompts":
        return Mistake(
            (), "no-prompts", "`prompts` is empty, so there is nothing to make"
        )
    if path[0] == "matrix":
        return Mistake((), "empty-axis", f"`{word}` has no values")
    return Mistake((), "empty-rule", f"`{word}` is empty, so this rule does nothing")


def _missing(path: Path, _: Any, __: Details) -> Mistake:
    return Mistake((), "missing-key", f"`{_word(path)}` is missing here")


def _choice(path: Path, value: Any, context: Details) -> Mistake:
    if path == ("version",):
        if type(value) is int and value > 1:
            message = f"version {value} was written for a newer batchgen"
            return Mistake((), "newer-version", message)
        return Mistake((), "not-allowed", "version is 1")
    choices = str(context.get("expected", "")).replace("'", "")
    message = f"{_word(path)} is one of {choices.replace(' or ', ' and ')}"
    return Mistake((), "not-allowed", f"{message}, got {shown(value)}")


WORDS: dict[str, Callable[[Path, Any, Details], Mistake]] = {
    "string_type": _typed("text", "put it in quotes, or under `>-`"),
    "int_type": _typed("a whole number"),
    "int_from_float": _typed("a whole number"),
    "bool_type": _typed("true or false"),
    "float_type": _typed("a number"),
    "list_type": _typed("a list", "write a list: [ … ] or lines that start with `- `"),
    "dict_type": _typed("a map of keys"),
    "model_type": _typed("a map of keys"),
    "greater_than_equal": _bounds,
    "less_than_equal": _bounds,
    "too_short": _short,
    "missing": _missing,
    "literal_error": _choice,
}
