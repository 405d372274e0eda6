r"""One grammar for choosing tasks: `-s 'MUG-*'`, `-s locale=de-DE,hook=steam`. Pure.

A comma means and, a repeated flag means or, `\,` is a comma, `*?[` are globs, and
`@picks.csv` means the tasks that a sheet lists.
"""

import csv
from collections.abc import Callable, Collection, Sequence
from fnmatch import fnmatchcase
from functools import partial
from io import StringIO

from batchgen.errors import UsageError
from batchgen.patterns import pattern
from batchgen.tasks import Task

Choice = Callable[[Task, str], bool]
"""Whether a task of this status word is meant."""

_COMMA = pattern(r"(?<!\\),")
_SHORTEST_HASH = 8


def selector(
    texts: Sequence[str], sheet: Callable[[str], str], *, by_name: bool = False
) -> Choice:
    """Read the flags; without any, everything is meant.

    Args:
        texts: what the flags say.
        sheet: from a file's name to its text, for `@FILE`.
        by_name: sheets mean the names they list, whatever their hashes are; for a
            sheet of another model's clips, see `hashes`.

    Raises:
        UsageError: a flag is empty or has no key before its `=`, or a sheet has
            neither a column `hash` nor `slug`.
    """
    read = partial(_condition, sheet=sheet, by_name=by_name)
    rules = [[read(part) for part in _COMMA.split(one)] for one in texts]

    def chosen(task: Task, status: str) -> bool:
        if not rules:
            return True
        return any(all(holds(task, status) for holds in rule) for rule in rules)

    return chosen


def hashes(texts: Sequence[str], sheet: Callable[[str], str]) -> frozenset[str]:
    """The short hashes of all sheets that list names as well; there may be none.

    Where none of them is of a task, the sheets are of other clips with the same names,
    such as the picks of a rehearsal.
    """
    parts = [part.strip() for one in texts for part in _COMMA.split(one)]
    names = [part[1:] for part in parts if part.startswith("@")]
    columns = [_columns(name, sheet(name)) for name in names]
    return frozenset(
        whole[:_SHORTEST_HASH]
        for one in columns
        if one.get("slug")
        for whole in one.get("hash", ())
    )


def _condition(text: str, *, sheet: Callable[[str], str], by_name: bool) -> Choice:
    text = text.replace("\\,", ",").strip()
    if text.startswith("@"):
        return _listed(text[1:], sheet(text[1:]), by_name=by_name)
    key, equals, pattern = (part.strip() for part in text.partition("="))
    if not equals:
        key, pattern = "", key
    if not pattern or (equals and not key):
        raise UsageError(
            f"cannot read the selection `{text}`",
            rule="bad-select",
            advice="write -s 'MUG-*', -s locale=de-DE,hook=steam, -s status=failed or "
            "-s @picks.csv",
        )
    return _matches(key, pattern)


def _matches(key: str, pattern: str) -> Choice:
    match key:
        case "":
            return lambda task, _: (
                fnmatchcase(task.slug, pattern) or task.id.startswith(pattern)
            )
        case "id":
            return lambda task, _: fnmatchcase(task.slug, pattern)
        case "status":
            return lambda _, status: fnmatchcase(status, pattern)
        case _:
            return lambda task, _: fnmatchcase(task.labels.get(key, "\0"), pattern)


def _listed(name: str, text: str, *, by_name: bool) -> Choice:
    """The tasks of a sheet such as the report's `picks.csv`, by hash, else by slug."""
    columns = _columns(name, text)
    if "hash" in columns and not (by_name and "slug" in columns):
        return _hashed(columns["hash"])
    return _named(columns["slug"])


def _columns(name: str, text: str) -> dict[str, set[str]]:
    """What a sheet lists under `hash` and under `slug`."""
    text = text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    rows = list(csv.DictReader(StringIO(text)))
    found = {
        column.removeprefix("bg_"): {(row[column] or "").strip() for row in rows} - {""}
        for column in ("bg_slug", "slug", "bg_hash", "hash")
        if rows and column in rows[0]
    }
    if not found:
        raise UsageError(
            f"{name} lists no tasks: it needs a column `hash` or `slug`",
            rule="bad-select",
        )
    return found


def _hashed(hashes: Collection[str]) -> Choice:
    """A hash may be cut to the eight characters that are shown."""
    return lambda task, _: task.id in hashes or task.id[:_SHORTEST_HASH] in hashes


def _named(slugs: Collection[str]) -> Choice:
    return lambda task, _: task.slug in slugs
