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
    """One attempt: `money` counts against the cap until it is released."""

    money: int
    stage: str = "open"
    prediction: str = ""
    how: str = ""

    @property
    def unreleased(self) -> bool:
        """Whether it may have been charged, as far as the file knows."""
        return self.stage not in ("refused", "not-sent", "absent")


@dataclass
class Story:
    """What a state file tells."""

    last: int = 0
    cap: int | None = None
    tries: dict[str, list[Try]] = field(default_factory=dict)
    plans: dict[str, dict[str, Any]] = field(default_factory=dict)
    saved: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    given_up: dict[str, str] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)

    @property
    def committed(self) -> int:
        """All money that is not released."""
        return sum(
            one.money for row in self.tries.values() for one in row if one.unreleased
        )

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
    for record in lines(data):
        if record["n"] <= story.last:
            continue
        if record["n"] != story.last + 1:
            raise Broken(f"record {story.last + 1} is missing")
        story.last = record["n"]
        _take(story, record)
    return story


def _take(  # noqa: C901 - one case for each event
    story: Story, record: dict[str, Any]
) -> None:
    kind, task = record["t"], record.get("task", "")
    match kind:
        case "SessionOpened":
            story.cap = None if record["cap"] is None else int(record["cap"])
        case "TaskPlanned":
            story.plans[task] = record
        case "AttemptStarted":
            row = story.tries.setdefault(task, [])
            if len(row) + 1 != record["attempt"]:
                raise Broken(f"attempt {record['attempt']} of {task} is out of turn")
            row.append(Try(int(record["reserve"])))
            story.given_up.pop(task, None)
        case "OutputsSaved":
            story.saved[task] = [dict(file) for file in record["files"]]
        case "OutputsMoved":
            names = {move["source"]: move["target"] for move in record["moves"]}
            for file in story.saved.get(task, []):
                file["name"] = names.get(file["name"], file["name"])
        case "TaskAbandoned":
            story.given_up[task] = record["kind"]
        case "CostSettled":
            story.tries[task][record["attempt"] - 1].money = int(record["amount"])
        case _ if kind in OUTCOMES:
            one = story.tries[task][record["attempt"] - 1]
            one.stage, one.how = OUTCOMES[kind], record.get("via", one.how)
            one.prediction = record.get("prediction", one.prediction)
            if kind == "PredictionCompleted" and record.get("cost") is not None:
                one.money = int(record["cost"])
        case _:
            pass
