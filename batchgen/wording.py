"""What pydantic found, in words of our own."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from batchgen import keys
from batchgen.findings import Finding, Mistake
from batchgen.given import CONCURRENCY, FAILURES, TAKES
from batchgen.models.checks import shown
from batchgen.readers.nodes import Document, Origin
from batchgen.spelling import hint, near

_PARTS: dict[str, type[BaseModel]] = {
    "prompts": keys.From,
    "matrix": keys.From,
    "overrides": keys.Override,
    "budget": keys.BudgetKeys,
    "price": keys.PriceKeys,
    "retry": keys.RetryKeys,
    "output": keys.OutputKeys,
    "elements": keys.ElementKeys,
    "notify": keys.NoticeKeys,
}
_RUNS = {"concurrency": CONCURRENCY, "stop_after_failures": FAILURES}

_TAGS = ("<map>", "<list>", "<plain>")
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
    path = tuple(part for part in detail["loc"] if part not in _TAGS)
    of_a_name = path[-1:] == ("[key]",)
    path = path[:-1] if of_a_name else path
    if path[:1] == ("prompts",) and len(path) > 2:  # noqa: PLR2004
        return None
    mistake, key = mistake_of(detail, path)
    return Origin(document, path).finding(mistake, key=key or of_a_name)


def mistake_of(detail: Details, path: Path) -> tuple[Mistake, bool]:
    """An error of pydantic in our words, and whether the key is to blame."""
    kind = str(detail["type"])
    context = detail.get("ctx") or {}
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
    word = word_of(kind) or _form
    of_key = kind in ("extra_forbidden", "missing")
    return word(path, detail.get("input"), context), of_key


def _unknown(path: Path) -> Mistake:
    word = str(path[-1]) if path else "<map>"
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
    least, most = _RUNS.get(_word(path), TAKES)
    del context
    message = f"{_word(path)} is {shown(value)}, but it runs from {least} to {most:,}"
    return Mistake((), "out-of-range", message)


def _short(path: Path, _: Any, __: Details) -> Mistake:
    word = _word(path)
    if word == "prompts":
        return Mistake(
            (), "no-prompts", "`prompts` is empty, so there is nothing to make"
        )
    if path[:1] == ("elements",):
        return Mistake((), "empty-text", f"`{word}` is empty")
    if path[:1] == ("matrix",):
        return Mistake((), "empty-axis", f"`{word}` has no values")
    return Mistake((), "empty-rule", f"`{word}` is empty, so this rule does nothing")


def _long(path: Path, _: Any, context: Details) -> Mistake:
    limit = context.get("max_length", "")
    return Mistake((), "too-long", f"`{_word(path)}` is longer than {limit}")


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


def _form(path: Path, _: Any, __: Details) -> Mistake:
    return Mistake((), "wrong-type", f"`{_word(path)}` has another form")


def _extra(path: Path, _: Any, __: Details) -> Mistake:
    return _unknown(path)


WORDS: dict[str, Callable[[Path, Any, Details], Mistake]] = {
    "extra_forbidden": _extra,
    "unexpected_keyword_argument": _extra,
    "missing": _missing,
    "missing_argument": _missing,
    "missing_keyword_only_argument": _missing,
    "missing_positional_only_argument": _missing,
    "literal_error": _choice,
    "enum": _choice,
    "int_from_float": _typed("a whole number"),
    "model_type": _typed("a map of keys"),
    "too_short": _short,
    "too_long": _long,
    "string_too_short": _short,
    "string_too_long": _long,
    "bytes_too_short": _short,
    "bytes_too_long": _long,
    "greater_than": _bounds,
    "greater_than_equal": _bounds,
    "less_than": _bounds,
    "less_than_equal": _bounds,
    "multiple_of": _bounds,
    "finite_number": _bounds,
}
# By the word an error's type begins with, where all of a family say the same.
FAMILIES: dict[str, Callable[[Path, Any, Details], Mistake]] = {
    "string": _typed("text", "put it in quotes, or under `>-`"),
    "bytes": _typed("text", "put it in quotes, or under `>-`"),
    "int": _typed("a whole number"),
    "bool": _typed("true or false"),
    "float": _typed("a number"),
    "decimal": _typed("a number"),
    "complex": _typed("a number"),
    "date": _typed("a date"),
    "datetime": _typed("a moment"),
    "time": _typed("a time"),
    "timezone": _typed("a time"),
    "url": _typed("an address", "write https://…"),
    "list": _typed("a list", "write a list: [ … ] or lines that start with `- `"),
    "tuple": _typed("a list"),
    "set": _typed("a list"),
    "frozen": _typed("a list"),
    "iterable": _typed("a list"),
    "iteration": _typed("a list"),
    "dict": _typed("a map of keys"),
    "mapping": _typed("a map of keys"),
    "model": _typed("a map of keys"),
    "dataclass": _typed("a map of keys"),
}
OF_ANY_FORM = frozenset(
    (
        "arguments",
        "assertion",
        "callable",
        "counter",
        "default",
        "deque",
        "ellipsis",
        "fraction",
        "get",
        "invalid",
        "is",
        "json",
        "missing",
        "multiple",
        "named",
        "needs",
        "no",
        "none",
        "ordered",
        "recursion",
        "unexpected",
        "union",
        "uuid",
        "value",
    )
)


def word_of(kind: str) -> Callable[[Path, Any, Details], Mistake] | None:
    """Who speaks for a type of error; None only for one that pydantic adds later."""
    family = kind.split("_", maxsplit=1)[0]
    known = WORDS.get(kind) or FAMILIES.get(family)
    return known or (_form if family in OF_ANY_FORM else None)
