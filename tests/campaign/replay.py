"""A second reading of the state file, written against the pages and not the code.

It imports nothing from batchgen: what two readers agree on is in the file.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

RELEASED = {"AttemptRefused", "AttemptNotSent", "AttemptAbsent"}
MAY_REPEAT = {"refused", "not-sent", "absent", "failed", "uncertain"}
OUTCOMES = {
    "AttemptAccepted": "accepted",
    "AttemptRefused": "refused",
    "AttemptNotSent": "not-sent",
    "AttemptUncertain": "uncertain",
    "AttemptAbsent": "absent",
    "PredictionCompleted": "completed",
    "PredictionFailed": "failed",
}


class Broken(AssertionError):
    """The file tells what cannot have happened."""


@dataclass
class Try:
    """One attempt: `money` counts against the cap until it is released.

    `start` numbers the starts of the run; a restart after a crash is the same one.
    `after` is where the attempt before it stood, `kind` why the prediction failed.
    """

    money: int
    stage: str = "open"
    prediction: str = ""
    how: str = ""
    start: int = 0
    session: int = 0
    at: str = ""
    after: str = ""
    kind: str = ""

    @property
    def unreleased(self) -> bool:
        """Whether it may have been charged, as far as the file knows."""
        return self.stage not in ("refused", "not-sent", "absent")

    @property
    def counts(self) -> int:
        """What it counts for."""
        return self.money if self.unreleased else 0


@dataclass
class Story:
    """What a state file tells.

    Attributes:
        committed: all money that is not released.
        begun: that of the present start alone.
        overdrawn: intents that no cap covered when they were written down.
        deadline: of the last session.
        session: number of the record that opened it.
        intents: attempts that were written down.
        changed: tasks whose attempts did since somebody emptied it.
    """

    last: int = 0
    intents: int = 0
    changed: set[str] = field(default_factory=set)
    cap: int | None = None
    session_cap: int | None = None
    committed: int = 0
    begun: int = 0
    start: int = 0
    session: int = 0
    deadline: str = ""
    overdrawn: list[str] = field(default_factory=list)
    tries: dict[str, list[Try]] = field(default_factory=dict)
    plans: dict[str, dict[str, Any]] = field(default_factory=dict)
    saved: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    given_up: dict[str, str] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)

    def begin(self, task: str, record: dict[str, Any]) -> None:
        """An intent: the caps are asked now, of what is known now."""
        row = self.tries.setdefault(task, [])
        if len(row) + 1 != record["attempt"]:
            raise Broken(f"attempt {record['attempt']} of {task} is out of turn")
        one = Try(int(record["reserve"]), start=self.start, at=record["at"])
        one.session = self.session
        if row:
            one.after = row[-1].stage
            if one.after == "completed" and row[-1].start == self.start:
                raise Broken(f"{task} was bought again by the start that bought it")
        row.append(one)
        self.intents += 1
        self.count(one, 1)
        for cap, money in (self.cap, self.committed), (self.session_cap, self.begun):
            if cap is not None and money > cap:
                self.overdrawn.append(f"record {record['n']}: {money} of {cap}")
        self.given_up.pop(task, None)

    def count(self, one: Try, sign: int) -> None:
        """Take an attempt's money in, or out before it changes."""
        self.committed += sign * one.counts
        self.begun += sign * one.counts if one.start == self.start else 0

    def in_doubt(self) -> int:
        """Attempts whose outcome is not written down."""
        return sum(
            one.stage in ("open", "uncertain")
            for row in self.tries.values()
            for one in row
        )


def lines(data: bytes) -> Iterator[dict[str, Any]]:
    """The records of a file: whole, and with a checksum that fits."""
    for line in data.split(b"\n"):
        head, tail = line[:-16], line[-16:]
        if line.startswith(b"{") and tail == b',"c":"%08x"}' % crc32(head):
            yield json.loads(line)


def tell(data: bytes) -> Story:
    """Read a state file from its beginning."""
    story = Story()
    _go_on(story, data)
    return story


class Reader:
    """Reads a state file that grows, and each of its lines once."""

    def __init__(self) -> None:
        self.story = Story()
        self._at = 0

    def read(self, data: bytearray, seen: int) -> Story:
        """What it tells by now; all is read again if what was `seen` has changed."""
        if seen < self._at:
            self.story, self._at = Story(), 0
        end = data.rfind(b"\n", self._at) + 1
        if end:
            _go_on(self.story, bytes(data[self._at : end]))
            self._at = end
        return self.story


def _go_on(story: Story, data: bytes) -> None:
    for record in lines(data):
        if record["n"] <= story.last:
            continue
        if record["n"] != story.last + 1:
            raise Broken(f"record {story.last + 1} is missing")
        story.last = record["n"]
        if "attempt" in record:
            story.changed.add(record["task"])
        _take(story, record)


def _take(  # noqa: C901 - one case for each event
    story: Story, record: dict[str, Any]
) -> None:
    kind, task = record["t"], record.get("task", "")
    match kind:
        case "SessionOpened":
            _open(story, record)
        case "TaskPlanned":
            story.plans[task] = record
        case "AttemptStarted":
            story.begin(task, record)
        case "OutputsSaved":
            story.saved[task] = [dict(file) for file in record["files"]]
        case "OutputsMoved":
            names = {move["source"]: move["target"] for move in record["moves"]}
            for file in story.saved.get(task, []):
                file["name"] = names.get(file["name"], file["name"])
        case "TaskAbandoned":
            story.given_up[task] = record["kind"]
        case "CostSettled":
            one = story.tries[task][record["attempt"] - 1]
            story.count(one, -1)
            one.money = int(record["amount"])
            story.count(one, 1)
        case _ if kind in OUTCOMES:
            one = story.tries[task][record["attempt"] - 1]
            story.count(one, -1)
            one.stage, one.how = OUTCOMES[kind], record.get("via", one.how)
            one.prediction = record.get("prediction", one.prediction)
            if kind == "PredictionFailed":
                one.kind = record["kind"]
            if kind == "PredictionCompleted" and record.get("cost") is not None:
                one.money = int(record["cost"])
            story.count(one, 1)
        case _:
            pass


def _open(story: Story, record: dict[str, Any]) -> None:
    caps = (record["cap"], record.get("session_cap"))
    story.cap, story.session_cap = (None if c is None else int(c) for c in caps)
    story.session, story.deadline = record["n"], record.get("deadline", "")
    if not record.get("continues", False):
        story.start, story.begun = story.start + 1, 0
