"""The statement adds up, and no row of billing and no attempt is left out."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from msgspec import convert
from test_strays import opened

from batchgen.events import (
    AttemptAccepted,
    AttemptStarted,
    Event,
    PredictionCompleted,
    PredictionFailed,
    TaskPlanned,
)
from batchgen.listings import Bill
from batchgen.records import Record
from batchgen.statement import Sums, statement, total
from batchgen.tally import Tally
from conftest import Story, sandboxed

MOMENT = "2026-10-01T12:00:00.000Z"
ENDS = ("open", "completed", "provider", "moderation")


def run(ends: list[str], price: int = 100) -> Tally:
    """A run with one attempt a task, each with its end."""
    events: list[Event] = [opened()]
    for n, end in enumerate(ends):
        task, mine = f"{n:032}", f"p{n}"
        planned = TaskPlanned(
            task=task, slug=f"t{n}", labels={}, model="m", input={}, take=1,
            price=price, seconds=5, output=f"{n}.mp4",
        )  # fmt: skip
        events += [
            planned,
            AttemptStarted(task=task, attempt=1, reserve=price),
            AttemptAccepted(task=task, attempt=1, prediction=mine),
        ]
        if end == "completed":
            events.append(
                convert(
                    {"task": task, "attempt": 1, "outputs": []}, PredictionCompleted
                )
            )
        elif end in ("provider", "moderation"):
            events.append(
                convert(
                    {"task": task, "attempt": 1, "kind": end, "message": "no"},
                    PredictionFailed,
                )
            )
    return Tally.of([Record(n, MOMENT, event) for n, event in enumerate(events, 1)])


amounts = st.sampled_from([0, 50, 100, 150])


@given(
    st.lists(st.sampled_from(ENDS), max_size=6),
    st.dictionaries(
        st.sampled_from([*(f"p{n}" for n in range(6)), "q1", "q2"]),
        st.builds(Bill, charged=amounts, refunded=amounts),
    ),
)
def test_totals_add_up_and_nothing_is_dropped(
    ends: list[str], bills: dict[str, Bill]
) -> None:
    rows = statement(run(ends), bills, {})
    every = [*(row.sums for row in rows), total(rows)]
    for sums in every:
        out = sums.refunded + sums.refund_expected + sums.kept + sums.unexplained
        assert sums.charged == out
    assert total(rows).charged == sum(bill.charged for bill in bills.values())
    assert total(rows).refunded == sum(bill.refunded for bill in bills.values())
    assert {row.prediction for row in rows} == {
        *bills,
        *(f"p{n}" for n in range(len(ends))),
    }
    assert len({row.prediction for row in rows}) == len(rows)


def test_what_each_ending_is_in_the_statement() -> None:
    bills = {f"p{n}": Bill(100, 0) for n in range(4)}
    bills |= {"p4": Bill(100, 100), "p5": Bill(150, 0), "q": Bill(70, 0)}
    tally = run([*ENDS, "provider", "completed", "completed"])
    rows = {row.prediction: row for row in statement(tally, bills, {"q": "m"})}
    assert rows["p0"].sums == rows["p1"].sums == Sums(100, 100, 0, 0, 100, 0)
    assert rows["p2"].sums == Sums(100, 100, 0, 100, 0, 0)
    assert rows["p3"].sums == Sums(100, 100, 0, 0, 100, 0)
    assert rows["p4"].sums == Sums(100, 100, 100, 0, 0, 0)
    assert rows["p5"].sums.unexplained == 50
    assert (rows["p6"].note, rows["p6"].sums.unexplained) == ("not in billing", -100)
    assert (rows["q"].note, rows["q"].sums.unexplained) == ("not of this run", 70)


def test_a_statement_of_a_real_run_reads_and_writes_nothing(tmp_path: Path) -> None:
    plan = tmp_path / "faults.yaml"
    rule = "{fault: fail_provider, at: [1]}"
    plan.write_text(f"rules: [{rule}]\n", encoding="utf-8")
    with sandboxed(tmp_path, "--faults", str(plan)) as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        manifest = story.manifest(["bill boat 0", "bill boat 1"])
        assert story.command("run", str(manifest)).returncode == 1
        left = json.loads((story.folder(manifest) / "statement.json").read_text())
        assert left["total"]["charged_usd"] == 2.52
        sheet = (story.folder(manifest) / "statement.csv").read_text("utf-8")
        assert sheet.startswith("prediction,model,slug,attempt,planned_usd,")
        assert len(sheet.splitlines()) == 3
        state = (story.folder(manifest) / "state.jsonl").read_bytes()
        found = story.command("status", manifest.stem, "--statement", "--json")
        assert found.returncode == 0, found.stderr
        document = json.loads(found.stdout)
        text = story.command("status", manifest.stem, "--statement").stdout
        assert (story.folder(manifest) / "state.jsonl").read_bytes() == state
    sums = document["total"]
    assert (sums["planned_usd"], sums["charged_usd"]) == (2.52, 2.52)
    back = sums["refund_expected_usd"] + sums["refunded_usd"]
    assert (back, sums["kept_usd"], sums["unexplained_usd"]) == (1.26, 1.26, 0)
    assert len(document["rows"]) == 2
    assert "total" in text
    assert "$2.52" in text


def test_a_run_that_stopped_by_itself_leaves_a_statement(tmp_path: Path) -> None:
    plan = tmp_path / "faults.yaml"
    rule = "{fault: fail_provider, probability: 1}"
    plan.write_text(f"rules: [{rule}]\n", encoding="utf-8")
    with sandboxed(tmp_path, "--faults", str(plan)) as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        manifest = story.manifest([f"stop boat {n}" for n in range(9)])
        with manifest.open("a", encoding="utf-8") as file:
            file.write("stop_after_failures: 1\n")
        ended = story.command("run", str(manifest))
        assert "failed; buying stops here" in ended.stderr
        assert (story.folder(manifest) / "statement.json").exists()


def test_where_billing_cannot_be_read_it_says_so(tmp_path: Path) -> None:
    plan = tmp_path / "faults.yaml"
    rule = "{fault: billing_403, probability: 1}"
    plan.write_text(f"rules: [{rule}]\n", encoding="utf-8")
    with sandboxed(tmp_path, "--faults", str(plan)) as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        manifest = story.manifest(["mute bill 0"])
        assert story.command("run", str(manifest)).returncode == 0
        assert not (story.folder(manifest) / "statement.json").exists()
        found = story.command("status", manifest.stem, "--statement")
    assert found.returncode == 4
    assert "the billing cannot be read" in found.stderr
