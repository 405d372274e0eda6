r"""One grammar for choosing tasks: `-s 'MUG-*'`, `-s locale=de-DE,hook=steam`. Pure.

A comma means and, a repeated flag means or, `\,` is a comma, `*?[` are globs.
"""

import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from batchgen.errors import UsageError
from batchgen.tasks import Task

Choice = Callable[[Task, str], bool]
"""Whether a task of this status word is meant."""

_COMMA = re.compile(r"(?<!\\),")


def selector(texts: Sequence[str]) -> Choice:
    """Read the flags; without any, everything is meant.

    Raises:
        UsageError: a flag is empty or has no key before its `=`.
    """
    rules = [[_condition(part) for part in _COMMA.split(text)] for text in texts]

    def chosen(task: Task, status: str) -> bool:
        if not rules:
            return True
        return any(all(_holds(c, task, status) for c in rule) for rule in rules)

    return chosen


def _condition(text: str) -> tuple[str, str]:
    text = text.replace("\\,", ",").strip()
    key, equals, pattern = text.partition("=")
    if not equals:
        key, pattern = "", text
    if not pattern.strip() or (equals and not key.strip()):
        raise UsageError(
            f"cannot read the selection `{text}`",
            rule="bad-select",
            advice="write -s 'MUG-*', -s locale=de-DE,hook=steam or -s status=failed",
        )
    return key.strip(), pattern.strip()


def _holds(condition: tuple[str, str], task: Task, status: str) -> bool:
    key, pattern = condition
    match key:
        case "":
            return fnmatchcase(task.slug, pattern) or task.id.startswith(pattern)
        case "id":
            return fnmatchcase(task.slug, pattern)
        case "status":
            return fnmatchcase(status, pattern)
        case _:
            return fnmatchcase(task.labels.get(key, "\0"), pattern)
