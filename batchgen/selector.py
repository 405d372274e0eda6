r"""One grammar for choosing tasks: `-s 'MUG-*'`, `-s locale=de-DE,hook=steam`. Pure.

A comma means and, a repeated flag means or, `\,` is a comma, `*?[` are globs, and
`@picks.csv` means the tasks that a sheet lists.
"""

import csv
import re
from collections.abc import Callable, Collection, Sequence
from fnmatch import fnmatchcase
from io import StringIO

from batchgen.errors import UsageError
from batchgen.tasks import Task

Choice = Callable[[Task, str], bool]
"""Whether a task of this status word is meant."""

_COMMA = re.compile(r"(?<!\\),")
_SHORTEST_HASH = 8


def selector(texts: Sequence[str], sheet: Callable[[str], str]) -> Choice:
    """Read the flags; without any, everything is meant.

    Args:
        texts: what the flags say.
        sheet: from a file's name to its text, for `@FILE`.

    Raises:
        UsageError: a flag is empty or has no key before its `=`, or a sheet has
            neither a column `hash` nor `slug`.
    """
    rules = [[_condition(part, sheet) for part in _COMMA.split(one)] for one in texts]

    def chosen(task: Task, status: str) -> bool:
        if not rules:
            return True
        return any(all(holds(task, status) for holds in rule) for rule in rules)

    return chosen


def _condition(text: str, sheet: Callable[[str], str]) -> Choice:
    text = text.replace("\\,", ",").strip()
    if text.startswith("@"):
        return _listed(text[1:], sheet(text[1:]))
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


def _listed(name: str, text: str) -> Choice:
    """The tasks of a sheet such as the report's `picks.csv`, by hash, else by slug."""
    text = text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    rows = list(csv.DictReader(StringIO(text)))
    for column, pick in (("hash", _hashed), ("bg_hash", _hashed), ("slug", _named)):
        if rows and column in rows[0]:
            return pick({(row[column] or "").strip() for row in rows} - {""})
    raise UsageError(
        f"{name} lists no tasks: it needs a column `hash` or `slug`",
        rule="bad-select",
    )


def _hashed(hashes: Collection[str]) -> Choice:
    """A hash may be cut to the eight characters that are shown."""
    return lambda task, _: task.id in hashes or task.id[:_SHORTEST_HASH] in hashes


def _named(slugs: Collection[str]) -> Choice:
    return lambda task, _: task.slug in slugs
