"""What a spreadsheet's cell means: the column's type decides, with patience."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from batchgen.findings import Mistake
from batchgen.patterns import pattern
from batchgen.spelling import listed

EMPTY = "<empty>"
MOST_BRACKETS = 32
MOST_DIGITS = 15
TRUE = frozenset(
    [
        "true",
        "yes",
        "on",
        "1",
        "wahr",
        "vrai",
        "verdadero",
        "vero",
        "waar",
        "prawda",
        "verdadeiro",
    ]
)
FALSE = frozenset(
    ["false", "no", "off", "0", "falsch", "faux", "falso", "onwaar", "fałsz"]
)
_ERROR = pattern(
    r"#(REF!|N/A|NAME\?|VALUE!|DIV/0!|NULL!|NUM!|SPILL!|CALC!|BEZUG!|NV|WERT!|ZAHL!)"
)
_NUMBER = pattern(r"[-+]?[0-9]{1,15}([.,][0-9]{1,15})?")
_THOUSANDS = pattern(
    r"[-+]?[1-9][0-9]{0,2}([., '\xa0\u202f\u2019][0-9]{3})+([.,][0-9]+)?"
)
_UNIT = pattern(r"([-+]?[0-9]+([.,][0-9]+)?)\s*([^\W\d]+\.?|%)")
_TIME = pattern(r"([0-9]{1,2}):([0-9]{1,2})(:00)?(\s*[AaPp]\.?[Mm]\.?)?")
_DATE = pattern(
    r"[0-9]{1,2}[.\s/-]+([^\W\d_]{3,10}|[0-9]{1,2})\b.*|[^\W\d_]{3,10}[.\s/-]+[0-9]{1,2}\b.*"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}.*"
)
_CURLY = str.maketrans("“”„‟«»\u2018\u2019", '""""""\'\'')


class CellError(Exception):
    """A cell that cannot be read."""

    def __init__(self, rule: str, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.fix = fix

    def at(self, *path: str | int) -> Mistake:
        """The mistake, at a path of the task."""
        return Mistake(path, self.rule, self.message, fix=self.fix)


def reader(name: str, schema: Mapping[str, Any]) -> Callable[[str], Any]:
    """How to read the cells of a field; what is returned raises `CellError`."""
    kind = schema.get("type", "string")
    if "enum" in schema:
        choices = {choice: choice for choice in schema["enum"]}
        read = ratio if name == "aspect_ratio" else text
        return lambda cell: choices.get(cell) or read(cell)
    if kind == "integer":
        return lambda cell: whole(cell, name)
    if kind == "number":
        return lambda cell: number(cell, name)
    if kind == "boolean":
        return lambda cell: boolean(cell, name)
    if kind in ("array", "object"):
        return lambda cell: structure(cell, kind)
    return lambda cell: text(cell, name)


def text(cell: str, name: str = "text") -> str:
    """Text, unless a formula broke."""
    if cell.startswith("#") and _ERROR.fullmatch(cell):
        message = f"a broken spreadsheet formula was saved as the {name}"
        raise CellError("sheet-error", message)
    return "" if cell == EMPTY else cell


def number(cell: str, name: str) -> float | str:
    """A number; a decimal comma is one too."""
    text(cell, name)
    if _THOUSANDS.fullmatch(cell):
        plain = re.sub(r"[^0-9+-]", "", cell)
        message = f"{name} has a thousands separator: {cell}"
        raise CellError("not-number", message, plain)
    if _NUMBER.fullmatch(cell):
        return float(cell.replace(",", "."))
    unit = _UNIT.fullmatch(cell)
    fix = unit[1] if unit else ""
    raise CellError("not-number", f"{name} is a plain number, got {cell}", fix)


def whole(cell: str, name: str) -> int:
    """A whole number."""
    if cell.isascii() and cell.isdigit() and len(cell) <= MOST_DIGITS:
        return int(cell)
    unit = "whole seconds" if name.endswith("duration") else "a whole number"
    try:
        value = float(number(cell, name))
    except CellError as error:
        if error.rule == "not-number" and "separator" not in error.message:
            error.message = f"{name} is {unit}, got {cell}"
        raise
    if value != int(value):
        fix = listed((int(value // 1), int(value // 1) + 1), "or")
        raise CellError("not-whole", f"{name} is {unit}, got {cell}", fix)
    return int(value)


def boolean(cell: str, name: str) -> bool:
    """Yes or no, in any language Excel speaks here."""
    text(cell, name)
    word = cell.lower()
    if word in TRUE or word in FALSE:
        return word in TRUE
    raise CellError(
        "not-boolean", f"{name} is true or false, got {cell}", "true or false"
    )


def ratio(cell: str) -> str:
    """A ratio, also one that the sheet took for a time."""
    text(cell, "aspect_ratio")
    found = _TIME.fullmatch(cell)
    if found:
        hours, minutes = int(found[1]), int(found[2])
        if found[4] and found[4].strip().lower().startswith("p") and hours < 12:  # noqa: PLR2004
            hours += 12
        return f"{hours}:{minutes}"
    if _DATE.fullmatch(cell):
        message = f"the spreadsheet turned a ratio into a date: {cell}"
        fix = "format the column as Text, then type the ratio again, such as 9:16"
        raise CellError("ratio-date", message, fix)
    return cell


def structure(cell: str, kind: str) -> Any:
    """A list or map as JSON, or a list as `a | b`."""
    text(cell)
    if cell == EMPTY:
        return [] if kind == "array" else {}
    if cell[0] not in "[{":
        if kind == "array":
            return [part.strip() for part in cell.split("|") if part.strip()]
        raise CellError("bad-json", "not JSON: a map starts with {")
    try:
        value = json.loads(cell, parse_constant=float)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        raise _not_json(cell) from None
    if cell.count("[") + cell.count("{") > MOST_BRACKETS:
        raise CellError("too-deep", "this cell has too many brackets")
    return value


def _not_json(cell: str) -> CellError:
    straight = cell.translate(_CURLY)
    try:
        value = json.loads(straight)
    except (ValueError, RecursionError):
        return CellError("bad-json", "this cell is not JSON")
    fix = straight
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        fix += f"   or simply   {' | '.join(value)}"
    message = "not JSON: the sheet turned straight quotes into curly ones"
    return CellError("bad-json", message, fix)
