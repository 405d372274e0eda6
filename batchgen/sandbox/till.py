"""The till: one durable row for each accepted submission, and what is left."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from batchgen.money import Micros
from batchgen.sandbox.clock import Nanoseconds
from batchgen.sandbox.predictions import RETENTION, Prediction

_SCHEMA = """
CREATE TABLE IF NOT EXISTS predictions (
    id TEXT PRIMARY KEY, model TEXT NOT NULL, input TEXT NOT NULL,
    price INTEGER NOT NULL, created INTEGER NOT NULL, begins INTEGER NOT NULL,
    ready INTEGER NOT NULL, ending TEXT NOT NULL, code INTEGER NOT NULL,
    error TEXT NOT NULL, refund INTEGER, marks TEXT NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_time ON predictions (created);
CREATE INDEX IF NOT EXISTS by_refund ON predictions (refund)
    WHERE refund IS NOT NULL;
DROP VIEW IF EXISTS charges;
CREATE VIEW charges AS
    SELECT id, model, input, price, created AS at, ending, ready FROM predictions
    UNION ALL
    SELECT id, model, input, price, 2 * ready - created, ending, ready FROM predictions
    WHERE marks LIKE '%charge_twice%'
    UNION ALL
    SELECT id, model, input, -price, refund, ending, ready FROM predictions
    WHERE refund IS NOT NULL;
"""
_INSERT = f"INSERT INTO predictions VALUES ({','.join('?' * 13)})"  # noqa: S608
_STATUS = (
    "CASE WHEN ready<=? THEN ending WHEN begins<=? THEN 'processing' ELSE 'created' END"
)


class Charge(NamedTuple):
    """One movement of money; a refund has a negative price."""

    id: str
    model: str
    input: str
    price: Micros
    at: Nanoseconds
    ending: str
    ready: Nanoseconds


@dataclass(frozen=True, slots=True)
class Query:
    """What a reader of the history asks for; empty means anything.

    `deleted` shows what was deleted as well.
    """

    model: str = ""
    status: str = ""
    after: Nanoseconds = 0
    before: Nanoseconds = 2**62
    page: int = 1
    page_size: int = 10
    deleted: bool = False


class Till:
    """Everything the service remembers, in one SQLite file.

    A row that was written survives the death of the process: it is in the
    write-ahead log, and only a failing machine could take it back.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        self.charged: Micros = 0
        (self.charged,) = self._db.execute(
            "SELECT coalesce(sum(price), 0) FROM charges WHERE price > 0"
        ).fetchone()

    def close(self) -> None:
        """Give the file back."""
        self._db.close()

    def record(self, prediction: Prediction) -> None:
        """Charge for a prediction, durably."""
        self._db.execute(_INSERT, prediction)
        self.charged += prediction.price * (1 + prediction.marked("charge_twice"))

    def find(self, identity: str, now: Nanoseconds) -> Prediction | None:
        """The prediction, unless it was deleted or forgotten."""
        row = self._db.execute(
            "SELECT * FROM predictions WHERE id=? AND deleted=0 AND created>?",
            (identity, now - RETENTION),
        ).fetchone()
        return row and Prediction._make(row)

    def lost(self, identity: str) -> Prediction | None:
        """The prediction, even if it was deleted or forgotten."""
        row = self._db.execute(
            "SELECT * FROM predictions WHERE id=?", (identity,)
        ).fetchone()
        return row and Prediction._make(row)

    def history(self, query: Query, now: Nanoseconds) -> list[Prediction]:
        """One page of predictions, newest first."""
        where = ["created>=?", "created<=?", "created>?"]
        if not query.deleted:
            where.append("deleted=0")
        values: list[object] = [query.after, query.before, now - RETENTION]
        if query.model:
            where.append("model=?")
            values.append(query.model)
        if query.status:
            where.append(f"{_STATUS}=?")
            values += [now, now, query.status]
        rows = self._db.execute(
            f"SELECT * FROM predictions WHERE {' AND '.join(where)} "  # noqa: S608
            "ORDER BY created DESC, id LIMIT ? OFFSET ?",
            (*values, query.page_size, (query.page - 1) * query.page_size),
        )
        return [Prediction._make(row) for row in rows]

    def delete(self, identities: Sequence[str]) -> int:
        """Drop predictions from the history; the money stays spent."""
        return sum(
            self._db.execute(
                "UPDATE predictions SET deleted=1 WHERE id=? AND deleted=0", (identity,)
            ).rowcount
            for identity in identities
        )

    def charges(self, now: Nanoseconds) -> list[Charge]:
        """Every charge and refund up to now, oldest first."""
        rows = self._db.execute(
            "SELECT * FROM charges WHERE at<=? ORDER BY at, id", (now,)
        )
        return [Charge._make(row) for row in rows]

    def refunded(self, now: Nanoseconds) -> Micros:
        """What was paid back so far."""
        (amount,) = self._db.execute(
            "SELECT coalesce(sum(price), 0) FROM predictions WHERE refund<=?", (now,)
        ).fetchone()
        return int(amount)

    def unfinished(self, now: Nanoseconds) -> list[Nanoseconds]:
        """When each prediction in flight will end."""
        rows = self._db.execute(
            "SELECT ready FROM predictions WHERE created>? AND ready>?",
            (now - RETENTION, now),
        )
        return [ready for (ready,) in rows]
