"""What was ordered last, read beside a state file that has planned it, or has not."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from batchgen.cli.ordered import ordered
from batchgen.events import TaskPlanned
from batchgen.models import catalog
from batchgen.tally import Tally
from batchgen.task import Task, to_json

MODEL = catalog()["kling-4k"]


def task(number: int, **changes: Any) -> Task:
    fields: dict[str, Any] = {"prompt": f"A mug, number {number}.", "duration": 5}
    fields |= changes.pop("input", {})
    one = Task(
        id=MODEL.identity(fields),
        slug=f"clip-{number:04d}",
        model=MODEL.id,
        input=fields,
        take=1,
        price=MODEL.price.of({**MODEL.identity_defaults, **fields}),
        seconds=fields["duration"],
        labels={"locale": "de"},
        output=f"clip-{number:04d}.mp4",
    )
    return replace(one, **changes)


def planned(one: Task) -> TaskPlanned:
    return TaskPlanned(
        task=one.id, slug=one.slug, labels=one.labels, model=one.model,
        input=one.input, take=one.take, price=one.price, seconds=one.seconds,
        output=one.output,
    )  # fmt: skip


def read(folder: Path, lines: list[Task], known: list[Task]) -> list[Task]:
    tally = Tally()
    for one in known:
        tally.apply(planned(one))
    text = "".join(f"{json.dumps(to_json(one))}\n" for one in lines)
    (folder / "tasks.jsonl").write_text(text, encoding="utf-8")
    return list(ordered(folder, tally))


TASKS = [task(number) for number in range(900)]  # more than one page of them
SHUFFLED = [*TASKS[450:], *reversed(TASKS[:450])]


@pytest.mark.parametrize("lines", [TASKS, TASKS[::2], TASKS[5:], SHUFFLED])
@pytest.mark.parametrize("known", [TASKS, TASKS[:400], TASKS[::3], SHUFFLED, []])
def test_the_order_is_the_same_whatever_was_planned(
    tmp_path: Path, lines: list[Task], known: list[Task]
) -> None:
    assert read(tmp_path, lines, known) == lines


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {"locale": "fr"}},
        {"labels": {}},
        {"output": "other.mp4"},
        {"price": 1_000_000},
    ],
)
def test_a_line_has_the_last_word_on_what_is_no_part_of_a_request(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    lines = [TASKS[0], replace(TASKS[1], **change), TASKS[2]]
    assert read(tmp_path, lines, TASKS[:3]) == lines


@pytest.mark.parametrize(
    "change", [{"input": {"duration": 10}}, {"input": {"prompt": "A cup."}}]
)
def test_another_request_under_a_name_is_another_task(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    lines = [TASKS[0], task(1, **change), TASKS[2]]
    assert lines[1].id != TASKS[1].id
    assert read(tmp_path, lines, TASKS[:3]) == lines
    assert read(tmp_path, lines, [*TASKS[:3], lines[1]]) == lines
    assert read(tmp_path, lines, [TASKS[0], lines[1], *TASKS[1:3]]) == lines


def test_a_task_costs_what_it_was_planned_for(tmp_path: Path) -> None:
    dearer = [replace(one, price=one.price + 1) for one in TASKS[:3]]
    assert read(tmp_path, TASKS[:3], dearer) == dearer
    found = read(tmp_path, TASKS[:3], [task(1, input={"prompt": "A cup."}), *dearer])
    assert found == dearer


def test_without_the_file_nothing_is_known_of_an_order(tmp_path: Path) -> None:
    assert list(ordered(tmp_path, Tally())) == []


def test_a_last_line_without_its_end_counts(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps(to_json(TASKS[0])), encoding="utf-8")
    assert list(ordered(tmp_path, Tally())) == [TASKS[0]]
