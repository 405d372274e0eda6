"""Elements that an account has already: once per content, whatever run asked first.

A small file for each key, outside of all runs. Losing it costs a cent for each element;
deleting it is how elements are made anew.
"""

import json
import os
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from batchgen.patterns import pattern
from batchgen.task import is_ref

_SCHEMA = "batchgen.elements/1"
_ID = pattern(r"[A-Za-z0-9_-]{1,64}")
_OTHERS_MAY_WRITE = 0o022


def place(cache: Path, key: str) -> Path:
    """The file of an account, by the fingerprint of its key."""
    return cache / "batchgen" / f"elements-{key}.json"


def read(path: Path) -> dict[str, str]:
    """Reference -> the account's id of it; empty where there is nothing to trust.

    Clips are bought with these ids, so a file that others may write is not read.
    """
    return {ref: one["id"] for ref, one in _entries(path).items()}


def remember(
    path: Path, found: Mapping[str, str], fresh: AbstractSet[str], now: datetime
) -> None:
    """Add elements to the file; a file that cannot be written is no trouble.

    Args:
        path: the file of the account.
        found: reference -> the account's id of it.
        fresh: references of those that were made just now, and replace older ones.
        now: the time of day.
    """
    entries = _entries(path)
    new = {
        ref: name
        for ref, name in found.items()
        if ref not in entries or (ref in fresh and entries[ref]["id"] != name)
    }
    if not new:
        return
    date = now.date().isoformat()
    entries |= {ref: {"id": name, "date": date} for ref, name in new.items()}
    text = json.dumps({"schema": _SCHEMA, "elements": entries}, indent=1)
    draft = path.with_suffix(f".{os.getpid()}.part")
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.write_text(f"{text}\n", encoding="utf-8")
        draft.chmod(0o600)
        draft.replace(path)


def _entries(path: Path) -> dict[str, dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as file:
            about = os.fstat(file.fileno())
            if about.st_uid != os.getuid() or about.st_mode & _OTHERS_MAY_WRITE:
                return {}
            value = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(value, dict) or value.get("schema") != _SCHEMA:
        return {}
    elements = value.get("elements")
    listed = elements.items() if isinstance(elements, dict) else ()
    return {ref: one for ref, one in listed if is_ref(ref) and _is_entry(one)}


def _is_entry(one: object) -> bool:
    name = one.get("id") if isinstance(one, dict) else None
    return isinstance(name, str) and _ID.fullmatch(name) is not None
