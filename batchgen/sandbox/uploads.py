"""Files that a client uploaded: their tickets, their bytes, seven days of life."""

import secrets
import sqlite3
from pathlib import Path
from typing import NamedTuple

from batchgen.sandbox.clock import Clock, Nanoseconds
from batchgen.sandbox.predictions import RETENTION

LARGEST = 200 * 2**20
"""Bytes of the largest file: the constant of the vendor's own package."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS uploads (
    id TEXT PRIMARY KEY, filename TEXT NOT NULL, type TEXT NOT NULL,
    size INTEGER NOT NULL, created INTEGER NOT NULL, stored INTEGER NOT NULL
)
"""


class Upload(NamedTuple):
    """One file, or the ticket for it while `stored` is 0; `type` is a MIME type."""

    id: str
    filename: str
    type: str
    size: int
    created: Nanoseconds
    stored: int


class Uploads:
    """Everything that was uploaded; it survives the process."""

    def __init__(self, data: Path, clock: Clock) -> None:
        self._folder = data / "media"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._clock = clock
        self._db = sqlite3.connect(data / "uploads.db", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(_SCHEMA)

    def close(self) -> None:
        """Give the file back."""
        self._db.close()

    def ticket(self, filename: str, kind: str, size: int) -> Upload:
        """Make room for a file of this name, MIME type and size in bytes."""
        now = self._clock.now()
        upload = Upload(secrets.token_hex(16), filename, kind, size, now, 0)
        self._db.execute("INSERT INTO uploads VALUES (?,?,?,?,?,?)", upload)
        return upload

    def path(self, identity: str) -> Path:
        """Where the bytes of a file are or will be; `identity` is one of ours."""
        return self._folder / identity

    def keep(self, identity: str) -> None:
        """Its bytes have arrived."""
        self._db.execute("UPDATE uploads SET stored=1 WHERE id=?", (identity,))

    def find(self, identity: str) -> Upload | None:
        """A ticket or a file that is not older than seven days."""
        row = self._db.execute(
            "SELECT * FROM uploads WHERE id=? AND created>?",
            (identity, self._clock.now() - RETENTION),
        ).fetchone()
        return row and Upload._make(row)

    def stored(self, identity: str) -> bool:
        """Whether a file can be fetched."""
        upload = self.find(identity)
        return upload is not None and bool(upload.stored)
