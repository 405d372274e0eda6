"""What changed between two requests, in the words of their author. Pure."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any, NamedTuple

from batchgen.patterns import pattern

# Scripts without spaces are compared letter by letter, all others word by word.
_LETTERS = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_STOPS = re.escape(".,;:!?()\"'“”„…\u3001\u3002\uff0c\uff01\uff1f\u300c\u300d")
_TOKEN = pattern(rf"(\s*)([{_LETTERS}]|[^\s{_LETTERS}{_STOPS}]+|\S)")
_REF = pattern(r"sha256:([0-9a-f]{8})[0-9a-f]{56}")  # a picture or an element
_ALIKE = 0.3
_TEXTS = ("prompt", "negative_prompt")


class _Token(NamedTuple):
    gap: bool
    text: str


def words(before: str, after: str) -> str:
    """Both texts in one: `A [-red-]{+blue+} mug`."""
    old, new = _tokens(before), _tokens(after)
    matcher = SequenceMatcher(
        None, [one.text for one in old], [one.text for one in new], autojunk=False
    )
    if matcher.ratio() < _ALIKE:
        return _marked(old, "[-", "-]") + _marked(new, "{+", "+}")
    parts: list[str] = []
    for kind, i, j, k, m in matcher.get_opcodes():
        gap = any(one.gap for one in (*old[i:j][:1], *new[k:m][:1]))
        parts.append(" " if gap and parts else "")
        if kind == "equal":
            parts.append(_marked(new[k:m]))
        else:
            parts += (_marked(old[i:j], "[-", "-]"), _marked(new[k:m], "{+", "+}"))
    return "".join(parts)


def fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """A line for each field that is not the same: texts first, word by word."""
    names = dict.fromkeys((*_TEXTS, "multi_prompt", *before, *after))
    for name in names:
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if name in _TEXTS:
            yield f"{name}: {_texts(old, new)}"
        elif name == "multi_prompt":
            yield from _scenes(old or (), new or ())
        else:
            yield f"{name} {_shown(old)} -> {_shown(new)}"


def _scenes(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    none: Mapping[str, Any] = {}
    pairs = zip_longest(before, after, fillvalue=none)
    for number, (old, new) in enumerate(pairs, 1):
        for line in fields(old, new):
            yield f"scene {number} {line}"


def _texts(before: str | None, after: str | None) -> str:
    old, new = before or "", after or ""
    text = words(old, new)
    return text if "[-" in text or "{+" in text else f"{text} (only the spaces)"


def _tokens(text: str) -> list[_Token]:
    return [_Token(bool(gap), token) for gap, token in _TOKEN.findall(text)]


def _marked(tokens: Sequence[_Token], start: str = "", end: str = "") -> str:
    if not tokens:
        return ""
    first, *rest = tokens
    more = "".join(f" {one.text}" if one.gap else one.text for one in rest)
    return f"{start}{first.text}{more}{end}"


def _shown(value: Any) -> str:
    if value is None:
        return "default"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _REF.sub(r"sha256:\1…", text)
