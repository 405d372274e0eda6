"""Journals of every released format replay to the same table, for ever."""

import json
from pathlib import Path
from typing import Any

import pytest
from test_records import RECORDS

from batchgen.replay import replay
from batchgen.state import word
from batchgen.tally import Tally

GOLDEN = Path(__file__).with_name("golden")


def table(data: bytes) -> dict[str, Any]:
    """Where every task and the money stand by a journal."""
    tally = Tally.of(replay(data).records)
    return {
        "endpoint": tally.endpoint,
        "committed": tally.ledger.committed,
        "tasks": {
            task: {
                "status": word(state),
                "slug": state.planned.slug if state.planned else "",
                "attempts": [
                    [attempt.number, attempt.stage, attempt.reserve, attempt.prediction]
                    for attempt in state.attempts
                ],
                "files": [[file.name, file.bytes, file.sha256] for file in state.files],
            }
            for task, state in tally.states.items()
        },
    }


def test_a_run_of_format_1_that_died_and_went_on_reads_as_it_did() -> None:
    expected = json.loads((GOLDEN / "journal-v1.json").read_text(encoding="utf-8"))
    found = table((GOLDEN / "journal-v1.jsonl").read_bytes())
    assert json.loads(json.dumps(found)) == expected
    statuses = [task["status"] for task in found["tasks"].values()]
    assert statuses == ["done"] * 4


@pytest.mark.parametrize("name", ["journal-v1-kinds", "journal-v1-media"])
def test_every_kind_of_record_of_format_1_reads_as_it_did(name: str) -> None:
    """Fields that came later have their defaults."""
    data = (GOLDEN / f"{name}.jsonl").read_bytes()
    old = replay(data).records
    now = {record.event.t: record for record in RECORDS}
    assert {record.event.t for record in old} <= now.keys()
    assert all(record in RECORDS or _same_event(record) for record in old)


def _same_event(record: Any) -> bool:
    """A kind that was put in between moves the numbers of the later ones."""
    return any(record.event == other.event for other in RECORDS)
