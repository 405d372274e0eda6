"""Elements of a manifest: names for ids, and tasks that make new ones."""

import json
from pathlib import Path
from typing import Any

import pytest
from test_pictures import as_they_are, lines, made, picture, walked

from batchgen import models, report
from batchgen.cli import results
from batchgen.cli.order import Flags, Order, place
from batchgen.cli.settings import read
from batchgen.models import ELEMENTS_MODEL
from batchgen.plan import Plan, Policy
from batchgen.quote import Quote, plan_text
from batchgen.tally import Tally
from batchgen.task import Task
from batchgen.words import ordered
from conftest import Story

CAMPAIGN = """\
model: kling-o3-4k
budget: 20
elements:
  Lamp: { image: lamp.png, description: A lamp }
  AuroraMug: "829301"
  Tumbler:
    image: front.png
    references: [side.png]
    description: Brushed steel
    tags: [o_104]
prompts:
  - { id: both, prompt: Tumbler and AuroraMug, element_list: [Tumbler, AuroraMug] }
  - { id: one, prompt: only the Tumbler, element_list: [Tumbler] }
  - { id: lamp, prompt: a Lamp, element_list: [Lamp] }
  - { id: none, prompt: nothing }
"""


def folder(path: Path) -> Path:
    for shade, name in enumerate(("front", "side", "lamp")):
        picture(path / f"{name}.png", shade)
    return path


def order_of(path: Path, text: str, tally: Tally | None = None, **flags: Any) -> Order:
    (folder(path) / "m.yaml").write_text(text, encoding="utf-8")
    order = place(path / "m.yaml", read({}), Flags(**flags))
    order.survey(tally or Tally(), Policy())
    return order


def test_names_become_ids_and_references(tmp_path: Path) -> None:
    lamp, tumbler, *clips = made(folder(tmp_path), CAMPAIGN)
    assert [one.slug for one in (lamp, tumbler)] == ["element_Lamp", "element_Tumbler"]
    assert [task.elements for task in clips] == [
        (tumbler.ref,),
        (tumbler.ref,),
        (lamp.ref,),
        (),
    ]
    both = clips[0].input["element_list"]
    assert both == [{"element_id": tumbler.ref}, {"element_id": "829301"}]


def test_an_element_is_a_task_of_its_own(tmp_path: Path) -> None:
    lamp, tumbler, *_ = made(folder(tmp_path), CAMPAIGN)
    assert tumbler.kind == "element"
    assert tumbler.model == ELEMENTS_MODEL
    assert (tumbler.take, tumbler.seconds, tumbler.output) == (1, 0, "")
    assert tumbler.price == 10_000
    front, side = tumbler.files
    assert tumbler.files == {
        front: str(tmp_path / "front.png"),
        side: str(tmp_path / "side.png"),
    }
    assert tumbler.input == {
        "name": "Tumbler",
        "description": "Brushed steel",
        "image": front,
        "element_refer_list": [side],
        "tag_list": [{"tag_id": "o_104"}],
    }
    # Without other views the front stands for itself.
    assert lamp.input["element_refer_list"] == [lamp.input["image"]]


def test_the_id_is_the_first_half_of_the_reference(tmp_path: Path) -> None:
    for task in made(folder(tmp_path), CAMPAIGN)[:2]:
        assert task.ref == f"sha256:{task.ref[7:]}"
        assert task.ref[7:39] == task.id
        assert models.catalog()[task.model].identity(task.input) == task.id


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Brushed steel", "Brushed  steel, conical"),
        ("references: [side.png]", "references: [lamp.png]"),
        ("image: front.png", "image: lamp.png"),
        ("tags: [o_104]", "tags: [o_102]"),
    ],
)
def test_another_element_makes_other_clips(
    tmp_path: Path, before: str, after: str
) -> None:
    old = {one.slug: one.id for one in made(folder(tmp_path), CAMPAIGN)}
    text = CAMPAIGN.replace(before, after)
    new = {one.slug: one.id for one in made(tmp_path, text)}
    changed = {slug for slug in old if old[slug] != new[slug]}
    assert changed == {"element_Tumbler", "both", "one"}


def test_an_edited_picture_is_a_change(tmp_path: Path) -> None:
    first = made(folder(tmp_path), CAMPAIGN)
    picture(tmp_path / "side.png", 200)
    again = made(tmp_path, CAMPAIGN)
    changed = [a.slug for a, b in zip(first, again, strict=True) if a.id != b.id]
    assert changed == ["element_Tumbler", "both", "one"]


def test_only_what_a_chosen_clip_shows_is_made(tmp_path: Path) -> None:
    order = order_of(tmp_path, CAMPAIGN, select=["one"])
    assert [task.slug for task in order.tasks()] == ["element_Tumbler", "one"]
    order = order_of(tmp_path, CAMPAIGN, select=["none"])
    assert [task.slug for task in order.tasks()] == ["none"]
    order = order_of(tmp_path, CAMPAIGN, select=["element_Lamp", "one"])
    slugs = [task.slug for task in order.tasks()]
    assert slugs == ["element_Lamp", "element_Tumbler", "one"]
    order = order_of(tmp_path, CAMPAIGN, limit=1)
    assert [task.slug for task in order.tasks()] == ["element_Tumbler", "both"]
    order = order_of(tmp_path, CAMPAIGN)
    assert [task.kind for task in order.tasks()] == ["element"] * 2 + ["clip"] * 4
    assert list(order.chosen) == [task.id for task in order.tasks()]


def test_an_element_that_nobody_shows_is_not_made(tmp_path: Path) -> None:
    text = CAMPAIGN.replace("element_list: [Lamp]", "duration: 3")
    expansion, _ = walked(folder(tmp_path), text)
    assert [task.slug for task in expansion.elements] == ["element_Tumbler"]
    assert [one.rule for one in expansion.findings] == ["unused-element"]


def test_lines_of_tasks_are_a_manifest_again(tmp_path: Path) -> None:
    found = made(folder(tmp_path), CAMPAIGN)
    again = made(tmp_path / "elsewhere", lines(found), "t.jsonl")
    assert as_they_are(again) == as_they_are(found)
    backwards = made(tmp_path, lines(found[::-1]), "t.jsonl")
    assert {one.id for one in backwards} == {one.id for one in found}


def test_a_line_that_shows_what_no_line_makes(tmp_path: Path) -> None:
    _, tumbler, *clips = made(folder(tmp_path), CAMPAIGN)
    expansion, _ = walked(tmp_path, lines([tumbler, *clips]), "t.jsonl")
    assert [(one.rule, one.place.line) for one in expansion.findings] == [
        ("unknown-element", 4)
    ]


def test_elements_alone_are_a_manifest(tmp_path: Path) -> None:
    line = {
        "model": "kling-elements",
        "name": "Lamp",
        "description": "A lamp",
        "image": "lamp.png",
        "element_refer_list": ["lamp.png"],
    }
    path = folder(tmp_path) / "t.jsonl"
    path.write_text(json.dumps(line))
    order = place(path, read({}), Flags())
    order.survey(Tally(), Policy())
    assert [task.slug for task in order.tasks()] == ["element_Lamp"]
    assert (order.plan.to_buy, order.plan.made) == (0, (1, 10_000))
    assert order.plan.buys


def test_two_lines_do_not_make_one_element_twice(tmp_path: Path) -> None:
    found = made(folder(tmp_path), CAMPAIGN)
    expansion, _ = walked(tmp_path, lines([found[1], *found]), "t.jsonl")
    assert "error" in {one.severity for one in expansion.findings}


def test_a_plan_counts_clips_and_pays_for_elements(tmp_path: Path) -> None:
    plan = order_of(tmp_path, CAMPAIGN).plan
    assert (plan.total, plan.to_buy, plan.elements) == (4, 4, 2)
    assert plan.cost == 4 * 2_100_000 + 2 * 10_000
    assert plan.made == (2, 20_000)
    text = plan_text(Quote("m", "O3", plan, None, "3f9a1c", "batchgen run"))
    assert "4 clips and 2 elements" in text
    [row] = [line for line in text.splitlines() if "(elements)" in line]
    assert row.split() == ["(elements)", "x", "2", "$0.02"]
    [total] = [line for line in text.splitlines() if "to buy" in line]
    assert total.split()[:5] == ["to", "buy", "4", "20", "$8.42"]


def test_the_words() -> None:
    assert ordered(25, 2) == "25 clips and 2 elements"
    assert ordered(1, 1) == "1 clip and 1 element"
    assert ordered(3, 0) == "3 clips"
    assert ordered(0, 1) == "1 element"
    assert not Plan().buys


def test_the_counts_of_a_run_are_of_clips(tmp_path: Path) -> None:
    order = order_of(tmp_path, CAMPAIGN)
    tally = Tally()
    tally.want(order.chosen, order.elements)
    assert (tally.total, tally.counts["pending"], tally.left) == (4, 4, 4)
    assert tally.everything["pending"] == 6
    tasks: list[Task] = list(order.tasks())
    document = report.summarise(
        "m", report.Listed(tasks), tally, exit=0, reason="done",
        started_at="2026-11-22T00:00:00Z", wall_s=1, files={},
    )  # fmt: skip
    assert document["counts"]["total"] == 4
    assert document.get("elements") == {"total": 2, "done": 0}
    book = report.Book(document, tasks, [], tally, models.catalog())
    assert [clip.task.slug for clip in book.clips] == ["both", "one", "lamp", "none"]
    rows = report.results_csv(tasks, tally).splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == [
        *("both", "one", "lamp", "none"),
        *("element_Lamp", "element_Tumbler"),
    ]
    text = report.end_text(document, tasks, tally, command="batchgen run m")
    assert "0 of 4 clips done, 0 of 2 elements made in 1s" in text


def test_an_element_is_no_row_of_the_sheet(tmp_path: Path) -> None:
    text = CAMPAIGN[: CAMPAIGN.index("prompts:")] + "prompts: { from: b.csv }\n"
    sheet = [
        "id,prompt,element_list",
        *(f"r{n},Tumbler {n},Tumbler" for n in range(20)),
    ]
    (tmp_path / "b.csv").write_text("\n".join(sheet))
    order = order_of(tmp_path, text, limit=2)
    kept = results.sheet_of(order.manifest, list(order.tasks()))
    assert kept
    assert kept.cells.keys() == order.chosen.keys() - order.elements.keys()


def test_the_plan_as_data(story: Story, tmp_path: Path) -> None:
    path = folder(tmp_path) / "m.yaml"
    path.write_text(CAMPAIGN)
    found = json.loads(story.command("plan", str(path), "--json").stdout)
    assert found["counts"]["to_buy"] == 4
    assert found["elements"] == {"total": 2, "to_buy": 2}
    assert found["cost_usd"] == 8.42
