"""`${VAR}` in what was written by hand; never in rows of data."""

import re
from collections.abc import Mapping

from batchgen.findings import Mistake
from batchgen.patterns import pattern

_VARIABLE = pattern(
    r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"(?::(?P<kind>[-?])(?P<word>[^}]*))?\}|\$\{[^}]*\}?"
)

_PRIVATE = frozenset({"WAVESPEED_API_KEY", "BATCHGEN_PROXY"})


def expand(
    text: str, environ: Mapping[str, str]
) -> tuple[str, list[tuple[str, Mistake]]]:
    """Fill in variables; what is wrong comes with its piece of the text."""
    mistakes: list[tuple[str, Mistake]] = []

    def fill(match: re.Match[str]) -> str:
        whole, name = match.group(), match["name"]
        if whole == "$${":
            return "${"
        if name is None:
            mistakes.append((whole, _malformed(whole)))
            return ""
        if name in _PRIVATE:
            mistakes.append((whole, _private(name)))
            return ""
        value = environ.get(name, "")
        if value:
            return value
        if match["kind"] == "-":
            return match["word"]
        mistakes.append((whole, _unset(name, match["word"] or "")))
        return ""

    return _VARIABLE.sub(fill, text), mistakes


def _private(name: str) -> Mistake:
    return Mistake(
        (),
        "secret-variable",
        f"{name} is a secret: it would be sent, stored and shown with the manifest",
        advice="the key needs no place in a manifest: batchgen reads it itself",
    )


def _malformed(whole: str) -> Mistake:
    return Mistake(
        (),
        "bad-variable",
        f"`{whole}` is not the name of an environment variable",
        advice="write ${NAME}, ${NAME:-default} or ${NAME:?message}, "
        "or $${ for a literal ${",
    )


def _unset(name: str, reason: str) -> Mistake:
    default = "https://…" if name.endswith(("URL", "WEBHOOK")) else "…"
    return Mistake(
        (),
        "unset-variable",
        f"environment variable {name} is not set",
        reason,
        advice=f"set it, give a default with ${{{name}:-{default}}}, "
        "or write $${ for a literal ${",
    )
