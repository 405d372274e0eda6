"""The rows of a manifest, wherever they stand: prompts, spreadsheets, lines of JSON."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from batchgen import names
from batchgen.drafts import Entry
from batchgen.findings import Finding
from batchgen.forms import Forms
from batchgen.models import Catalog, Model, Price
from batchgen.models.checks import shown
from batchgen.money import usd
from batchgen.outside import outside
from batchgen.readers.csv import Table
from batchgen.readers.jsonl import Lines
from batchgen.readers.nodes import Origin
from batchgen.readers.sheets import Sheet
from batchgen.task import Task

Fault = tuple[str, str] | None
MOST_TAKES = 20


def sheet_rows(
    sheet: Sheet, table: Table, forms: Forms | None
) -> Iterator[Entry | Task | list[Finding]]:
    """The rows of a spreadsheet, and what is wrong with those that cannot be read.

    A row that has a form is a task at once.
    """
    for row in table:
        task = forms.task(row) if forms else None
        if task is not None:
            yield task
            continue
        data, findings = sheet.task(row)
        yield findings or Entry(data, Origin(row), literal=True, listed=True)


def line_rows(lines: Lines) -> Iterator[Entry | Task | list[Finding]]:
    """The lines of a JSONL file, and what is wrong with those that are no task."""
    for line in lines:
        if isinstance(line, Finding):
            yield [line]
        else:
            yield Entry(line.data, Origin(line), literal=True, listed=True)


def strangers(entry: Entry) -> list[Finding]:
    """What only rows of data can get wrong; documents were inspected before."""
    data = entry.data
    return [
        (entry.origin / key).error(*fault)
        for key in data
        if key in _TESTS and (fault := _TESTS[key](key, data[key], data))
    ]


def _count(key: str, value: object, _: Mapping[str, Any]) -> Fault:
    if value is None or (type(value) is int and 1 <= value <= MOST_TAKES):
        return None
    message = f"{key} is {shown(value)}, but it runs from 1 to {MOST_TAKES}"
    return "out-of-range", message


def _price(_: str, value: object, __: Mapping[str, Any]) -> Fault:
    if value is None or _is_price(value):
        return None
    return "bad-money", f"price is an amount of US dollars, got {shown(value)}"


def _name(key: str, value: object, data: Mapping[str, Any]) -> Fault:
    if not isinstance(value, str):
        return _text(key, value, data)
    # What `plan --tasks` wrote has whole names, and a take.
    fault = names.fault_of_id(value) if data.get("take") is None else ""
    return ("bad-id", fault) if fault else None


def _text(key: str, value: object, _: Mapping[str, Any]) -> Fault:
    if value is None or isinstance(value, str):
        return None
    return "wrong-type", f"{key} is text, got {shown(value)}"


def _labels(key: str, value: object, _: Mapping[str, Any]) -> Fault:
    if value is None or isinstance(value, dict):
        return None
    return "wrong-type", f"{key} is a map of texts, got {shown(value)}"


_TESTS: dict[str, Callable[[str, Any, Mapping[str, Any]], Fault]] = {
    "takes": _count,
    "take": _count,
    "price": _price,
    "id": _name,
    "output": _text,
    "labels": _labels,
}


def model_of(name: object, price: object, catalog: Catalog) -> Model | None:
    """The model that a row asks for; one outside the catalog needs a price."""
    if not isinstance(name, str):
        return None
    found = catalog.find(name)
    if found is None and _is_price(price):
        return outside(name, Price(per_task=usd(str(price))), catalog)
    return found


def _is_price(value: object) -> bool:
    try:
        return type(value) in (int, float) and usd(str(value)) > 0
    except ValueError:
        return False
