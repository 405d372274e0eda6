"""Status counts what was ordered by a list beside it, and says the same without."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from msgspec.structs import replace
from test_lives import AT, journal
from test_ordered import planned, task

from batchgen.cli.identities import IDS, Ordered, written
from batchgen.cli.status import status
from batchgen.events import (
    AttemptAccepted,
    AttemptStarted,
    AttemptUncertain,
    Event,
    Output,
    OutputsSaved,
    PredictionCompleted,
    PredictionFailed,
    SavedFile,
    SessionOpened,
    TaskAbandoned,
    Window,
)
from batchgen.journal import NAME
from batchgen.models import catalog
from batchgen.replay import replay
from batchgen.tally import Tally
from batchgen.task import Task

MAKER = next(model for model in catalog() if model.kind == "elements")
WINDOW = Window(since=AT, until=AT)


def element(number: int) -> Task:
    fields: dict[str, Any] = {"name": f"Mug {number}", "description": "a mug"}
    return replace(
        task(number), id=MAKER.identity(fields), slug=f"element_{number}",
        model=MAKER.id, input=fields, seconds=0, output="",
    )  # fmt: skip


TASKS = [element(0), element(1), *(task(number) for number in range(2, 1_000))]


def life(one: Task, number: int) -> list[Event]:
    """Of seven fates one, by the number; the last is that nothing was begun."""
    of: dict[str, Any] = {"task": one.id, "attempt": 1}
    begun: list[Event] = [planned(one), AttemptStarted(**of, reserve=one.price)]
    taken = AttemptAccepted(**of, prediction=f"p{number}")
    made = PredictionCompleted(**of, outputs=(Output(kind="url", host="h", path="/p"),))
    file = SavedFile(name=f"{one.slug}.mp4", bytes=9, sha256="f" * 64)
    failed = PredictionFailed(**of, kind="moderation", message="no")
    given_up = TaskAbandoned(task=one.id, kind="moderation", message="no")
    doubt = AttemptUncertain(**of, phase="no answer", error="cut", window=WINDOW)
    fates: list[list[Event]] = [
        [*begun, taken, made, OutputsSaved(**of, files=(file,))],
        [*begun, taken, made],
        [*begun, taken],
        [*begun, taken, failed, given_up],
        [*begun, doubt],
        begun,
        [],
    ]
    return fates[number % 7]


def run(outputs: Path, events: Sequence[Event], tasks: Sequence[Task]) -> Path:
    folder = outputs / "night"
    folder.mkdir()
    opened = SessionOpened(
        tool="t", pid=1, host="h", cap=None, concurrency=1, manifest="m", endpoint="e"
    )
    (folder / NAME).write_bytes(journal([opened, *events]))
    for name, text in written(tasks).items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[], str]:
    """All that is said of the run, by itself and in a row with others."""
    monkeypatch.setenv("BATCHGEN_OUTPUTS", str(tmp_path))
    flags: dict[str, Any] = dict.fromkeys(
        ("watch", "statement", "as_json", "quiet", "verbose"), False
    )

    def text() -> str:
        for names in (["night"], []):
            assert status(names=names, select=[], **flags) == 0
        return capsys.readouterr().out

    return text


LIVES = [event for number, one in enumerate(TASKS) for event in life(one, number)]


@pytest.mark.parametrize("events", [LIVES, LIVES[: len(LIVES) // 2], []])
@pytest.mark.parametrize("tasks", [TASKS, TASKS[::3], list(reversed(TASKS))])
def test_the_text_is_the_same_with_the_list_and_without(
    tmp_path: Path,
    told: Callable[[], str],
    events: Sequence[Event],
    tasks: Sequence[Task],
) -> None:
    folder = run(tmp_path, events, tasks)
    quick = told()
    assert f" of {len([one for one in tasks if one.model != MAKER.id])} clips" in quick
    (folder / IDS).unlink()
    assert told() == quick


def test_what_is_named_is_read_alone(tmp_path: Path) -> None:
    folder = run(tmp_path, LIVES, TASKS)
    tally = Tally.of(replay((folder / NAME).read_bytes()).records)
    order = Ordered(folder, tally, whole=False)
    assert order.ids == [one.id for one in TASKS]
    assert order.elements == [one.id for one in TASKS[:2]]
    for wanted in (TASKS[:1], TASKS[-1:], TASKS[3:999:7], TASKS, []):
        ids = {one.id for one in wanted}
        assert order.some(ids) == wanted
        assert Ordered(folder, tally, whole=True).some(ids) == wanted


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("tasks.jsonl", lambda text: text.replace("number 5.", "number 6.")),
        ("tasks.jsonl", lambda text: text[: text.rindex("\n", 0, -1) + 1]),
        ("tasks.jsonl", lambda text: text + text.splitlines()[0]),
        (IDS, lambda text: text[:-9]),
        (IDS, lambda _: "[]"),
        (IDS, lambda text: json.dumps({**json.loads(text), "ids": "none"})),
        (IDS, lambda _: json.dumps({"size": 0, "crc32": 0, "ids": [], "elements": []})),
    ],
    ids=["edited", "cut", "longer", "torn", "none", "wrong", "empty"],
)
def test_a_list_of_another_order_is_not_believed(
    tmp_path: Path, told: Callable[[], str], file: str, change: Callable[[str], str]
) -> None:
    folder = run(tmp_path, LIVES, TASKS)
    text = (folder / file).read_text("utf-8")
    assert change(text) != text
    (folder / file).write_text(change(text), encoding="utf-8")
    found = told()
    assert not Ordered(folder, Tally(), whole=False)._left  # noqa: SLF001
    (folder / IDS).unlink()
    assert told() == found


def test_the_list_knows_its_order_by_size_and_checksum() -> None:
    texts = written([*TASKS[:2], replace(TASKS[2], slug="Tür")])
    data = texts["tasks.jsonl"].encode()
    left = json.loads(texts[IDS])
    assert (left["size"], left["crc32"]) == (len(data), crc32(data))
    assert left["ids"] == [one.id for one in TASKS[:3]]
    assert left["elements"] == left["ids"][:2]
