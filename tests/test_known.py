"""Elements once per content and account, and never by a file that others write."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from test_elements import CAMPAIGN, folder
from test_media import Stage

from batchgen import known
from batchgen.cli.order import Flags, Order, place
from batchgen.cli.settings import fingerprint, read
from batchgen.events import (
    AttemptAccepted,
    AttemptStarted,
    ElementKnown,
    Output,
    PredictionCompleted,
)
from batchgen.plan import Policy
from batchgen.tally import Tally
from batchgen.task import Task
from conftest import Story

NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)
MUG, CAT = ("sha256:" + letter * 64 for letter in "ab")
LIVE = "https://api.example"


def order_of(path: Path, tally: Tally, *, base: str = LIVE, again: bool = False) -> Any:
    (folder(path) / "m.yaml").write_text(CAMPAIGN, encoding="utf-8")
    environ = {
        "WAVESPEED_API_KEY": "k",
        "WAVESPEED_BASE_URL": base,
        "XDG_CACHE_HOME": str(path / "cache"),
    }
    order: Order = place(path / "m.yaml", read(environ), Flags())
    order.survey(tally, Policy(again=again))
    return order


def slugs(order: Order) -> list[str]:
    return [task.slug for task in order.tasks() if task.kind == "element"]


def makes(tally: Tally, task: Task, element: int) -> None:
    """The life of an element up to its id."""
    events: list[Any] = [
        AttemptStarted(task=task.id, attempt=1, reserve=task.price),
        AttemptAccepted(task=task.id, attempt=1, prediction=f"p{element}"),
        PredictionCompleted(
            task=task.id,
            attempt=1,
            outputs=(Output(kind="json", value={"element_id": element}),),
        ),
    ]
    for event in events:
        tally.apply(event)


def test_what_one_run_made_is_not_ordered_by_the_next(tmp_path: Path) -> None:
    tally = Tally()
    order = order_of(tmp_path, tally)
    assert slugs(order) == ["element_Lamp", "element_Tumbler"]
    lamp, tumbler = order.expansion.elements
    makes(tally, tumbler, 307212335131305)
    order.remember(tally, NOW)
    file = tmp_path / "cache" / "batchgen" / f"elements-{fingerprint('k')}.json"
    assert known.read(file) == {tumbler.ref: "307212335131305"}
    assert file.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in file.parent.iterdir()] == [file.name]

    order = order_of(tmp_path, Tally())
    assert slugs(order) == ["element_Lamp"]
    event = ElementKnown(ref=tumbler.ref, element_id="307212335131305")
    assert order.known == {tumbler.id: event}
    assert order.plan.elements == 1
    # What the plan prints is a manifest of its own, so it holds them all.
    assert [task.slug for task in order.tasks(whole=True)][:2] == [
        "element_Lamp",
        "element_Tumbler",
    ]
    # Once the state file says it, the cache is not needed any more.
    tally = Tally()
    tally.apply(event)
    file.unlink()
    assert slugs(order_of(tmp_path, tally)) == ["element_Lamp"]
    assert slugs(order_of(tmp_path, Tally())) == ["element_Lamp", "element_Tumbler"]
    assert lamp.ref not in known.read(file)


def test_a_sandbox_neither_reads_nor_writes_the_cache(tmp_path: Path) -> None:
    tally = Tally()
    order = order_of(tmp_path, tally, base="http://127.0.0.1:9")
    makes(tally, order.expansion.elements[0], 5)
    order.remember(tally, NOW)
    assert not (tmp_path / "cache").exists()
    live = order_of(tmp_path, tally)
    live.remember(tally, NOW)
    assert (tmp_path / "cache").exists()
    again = order_of(tmp_path, Tally(), base="http://127.0.0.1:9")
    assert slugs(again) == ["element_Lamp", "element_Tumbler"]


def test_again_makes_an_element_anew_and_its_id_replaces_the_old(
    tmp_path: Path,
) -> None:
    order = order_of(tmp_path, Tally())
    lamp = order.expansion.elements[0]
    known.remember(order.cache, {lamp.ref: "1"}, set(), NOW)
    assert slugs(order_of(tmp_path, Tally())) == ["element_Tumbler"]
    assert len(slugs(order_of(tmp_path, Tally(), again=True))) == 2
    known.remember(order.cache, {lamp.ref: "2"}, set(), NOW)
    assert known.read(order.cache) == {lamp.ref: "1"}
    known.remember(order.cache, {lamp.ref: "2"}, {lamp.ref}, NOW)
    assert known.read(order.cache) == {lamp.ref: "2"}


def file_of(elements: object, schema: str = "batchgen.elements/1") -> str:
    return json.dumps({"schema": schema, "elements": elements})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        file_of({MUG: {"id": "1"}}, "batchgen.elements/2"),
        file_of([1]),
        file_of({MUG: "1"}),
        file_of({MUG: {"id": 1}}),
        file_of({MUG: {"id": "../"}}),
        file_of({"mug": {"id": "1"}}),
        "[" * 100_000,
    ],
    ids=range(10),
)
def test_a_file_of_another_form_says_nothing(tmp_path: Path, text: str) -> None:
    file = known.place(tmp_path, "00")
    file.parent.mkdir()
    file.write_text(text, encoding="utf-8")
    assert known.read(file) == {}
    known.remember(file, {CAT: "7"}, set(), NOW)
    assert known.read(file) == {CAT: "7"}


def test_a_file_that_others_may_write_is_not_believed(tmp_path: Path) -> None:
    file = known.place(tmp_path, "00")
    known.remember(file, {CAT: "7"}, set(), NOW)
    file.chmod(0o622)
    assert known.read(file) == {}


def test_a_cache_that_cannot_be_written_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "batchgen").write_text("a file in the way", encoding="utf-8")
    known.remember(known.place(tmp_path, "00"), {CAT: "7"}, set(), NOW)


@pytest.mark.anyio
async def test_a_known_element_is_shown_without_being_made(story: Story) -> None:
    stage = Stage(story, "known")
    mug = stage.element("KnownMug", stage.picture("mug"))
    clip = stage.showing(1, mug)
    event = ElementKnown(ref=mug.ref, element_id="829301")
    await stage.run([clip], news=[event])
    (body,) = stage.charges()
    assert body["element_list"] == [{"element_id": "829301"}]
    _, tally = story.replay(stage.manifest)
    assert tally.elements == {mug.id: "829301"}
