"""Colour on terminals: decoration only, every word stands without it."""

import os
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import click

from batchgen.patterns import pattern

_PLACE = r"(?:\S+:\d+:\d+: )?"
# What stands before the coloured words, the words, and how they look.
_STYLES: tuple[tuple[re.Pattern[str], dict[str, Any]], ...] = tuple(
    (pattern(f"^({before})({words})", re.MULTILINE), style)
    for before, words, style in (
        (_PLACE, "error(?=:)", {"fg": "red", "bold": True}),
        (_PLACE, "warning(?=:)", {"fg": "yellow"}),
        (_PLACE, "note(?=:)", {"fg": "cyan"}),
        (" +[|] +", "\\^+", {"fg": "red"}),
        ("  ", "fix(?=:)", {"fg": "green"}),
        ("", "ok(?=   )", {"fg": "green"}),
        ("", "warn(?=  )", {"fg": "yellow"}),
        ("", "fail(?=  )", {"fg": "red", "bold": True}),
        ("  ", "(?:failed|rejected|lost|uncertain)(?=  )", {"fg": "red"}),
    )
)
_wish = "auto"


def wish(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Keep what `--color` says, for this process."""
    del ctx, param
    global _wish  # noqa: PLW0603 - a flag of the process, also read after its context
    _wish = value
    return value


def say(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print; in colour where a person looks and wants it."""
    click.echo(paint(text), err=err, nl=nl, color=decided(_wish, os.environ))


def decided(wanted: str, environ: Mapping[str, str]) -> bool | None:
    """True or False where that is said, None where the stream decides."""
    if wanted != "auto":
        return wanted == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return False if environ.get("TERM") == "dumb" else None


def paint(text: str) -> str:
    """The same text with colours; what is not a terminal gets them stripped."""
    for found, style in _STYLES:
        text = found.sub(partial(_painted, style), text)
    return text


def _painted(style: Mapping[str, Any], found: re.Match[str]) -> str:
    return found[1] + click.style(found[2], **style)
