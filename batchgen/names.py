"""Names of tasks and files: safe on every system, and readable."""

import re
import unicodedata
from hashlib import sha256
from pathlib import PurePosixPath

from batchgen.patterns import pattern

PREVIOUS, FLAGGED = "_previous", "_flagged"
"""Folders beside the clips: of those that were replaced, and of those set apart."""

LONGEST = 120
LONGEST_ID = 80
LONGEST_DEVICE = 4  # of what Windows keeps for itself: con, com1
FOLDER = pattern(r"[a-z0-9][a-z0-9-]{0,62}")
_RATIO = pattern(r"(?<![0-9])([0-9]{1,2}):([0-9]{1,2})(?![0-9])")
_FORBIDDEN = pattern(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u2028\u2029]+')
_INVISIBLE = pattern(
    "[\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff]"
)
_PLAIN = pattern(r"[A-Za-z0-9_~]+(-[A-Za-z0-9_~]+)*")
_WORDS = pattern(r"[a-z0-9]+")
_RUNS = pattern(r"-{2,}| {2,}")
_WINDOWS = pattern(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_FOLDS = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "ø": "o", "Ø": "O", "œ": "oe", "Œ": "OE"}
    | {"ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "\u0131": "i", "þ": "th", "Þ": "Th"}
)


def segment(text: str, *, fold: bool = False, ending: str = "") -> str:
    """One part of a path: nothing in it makes a folder or breaks a file system."""
    if (
        len(text) + len(ending) <= LONGEST
        and _PLAIN.fullmatch(text)
        and (len(text) > LONGEST_DEVICE or not _WINDOWS.fullmatch(text))
    ):
        return text + ending
    text = unicodedata.normalize("NFC", text)
    if fold:
        text = ascii_fold(text)
    text = _RATIO.sub(r"\1x\2", text)
    text = _INVISIBLE.sub("", text)
    text = _FORBIDDEN.sub("-", text)
    text = _RUNS.sub(lambda run: run.group()[0], text)
    text = text.lstrip(".- ").rstrip(". ")
    if _WINDOWS.fullmatch(text):
        text = f"_{text}"
    return _cut(text, ending)


def path(text: str, *, fold: bool = False, ending: str = ".mp4") -> str | None:
    """A file name with `/` between folders, or None where it would leave its folder."""
    text = unicodedata.normalize("NFC", text)
    if not text.lower().endswith(ending):
        text += ending
    parts = text[: -len(ending)].split("/")
    if any(part.strip() in ("", ".", "..") for part in parts) or "\\" in text:
        return None
    folders = [segment(part, fold=fold) for part in parts[:-1]]
    last = segment(parts[-1], fold=fold, ending=ending)
    return "/".join([*folders, last]) if all(folders) and last != ending else None


def fault_of_id(text: str) -> str:
    """Why a text cannot be an id; empty if it can."""
    if len(text) > LONGEST_ID:
        return f"an id has at most {LONGEST_ID} characters, this one has {len(text)}"
    if _PLAIN.fullmatch(text) or segment(text):
        return ""
    return "an id has at least one letter or digit that a file name may have"


def clash(name: str) -> str:
    """What two names have in common if a careless file system mixes them up."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", name).casefold()


def ascii_fold(text: str) -> str:
    """ASCII letters only: Zürich becomes Zurich."""
    if text.isascii():
        return text
    split = unicodedata.normalize("NFKD", text.translate(_FOLDS))
    return split.encode("ascii", "ignore").decode()


def words(text: str) -> str:
    """The first five words of a prompt, as a name; `clip` if nothing is left."""
    found = _WORDS.findall(ascii_fold(text[:400]).lower())[:5]
    name = "-".join(found)
    return name[:40].rstrip("-") or "clip"


def folder(text: str) -> str:
    """A run's name: lower case letters, digits and hyphens."""
    name = "-".join(_WORDS.findall(ascii_fold(text).lower()))
    return name[:63].rstrip("-")


def _cut(text: str, ending: str) -> str:
    if len((text + ending).encode("utf-8", "replace")) <= LONGEST:
        return text + ending
    mark = f"~{sha256(text.encode('utf-8', 'replace')).hexdigest()[:4]}"
    room = LONGEST - len((mark + ending).encode())
    kept = text.encode("utf-8", "replace")[:room].decode("utf-8", "ignore")
    return kept.rstrip(". ") + mark + ending


def numbered(name: str, number: int) -> str:
    """`clip.mp4`, then `clip-2.mp4` for a second output of one prediction."""
    first = PurePosixPath(name)
    return name if number == 1 else str(first.with_stem(f"{first.stem}-{number}"))


def with_hash(name: str, digest: str) -> str:
    """The name of a file whose own name is taken."""
    taken = PurePosixPath(name)
    return str(taken.with_stem(f"{taken.stem}~{digest[:8]}"))
