"""What an edit of a manifest costs: every row of the table, told by the till."""

import json
from pathlib import Path
from typing import Any

import pytest

from batchgen import journal
from batchgen.state import word
from batchgen.tally import Tally
from conftest import Story, sandboxed

pytestmark = pytest.mark.slow  # half a hundred real commands, one after the other


def written(story: Story, salt: str, text: str) -> Path:
    path = story.root / f"edit-{salt}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def plan(story: Story, path: Path) -> dict[str, Any]:
    """The counts of the plan."""
    found = story.command("plan", str(path), "--json")
    assert found.returncode == 0, found.stderr
    document = json.loads(found.stdout)
    counts = {name: count for name, count in document["counts"].items() if count}
    return counts | {"cost": document["cost_usd"]}


def bought(story: Story, path: Path, *flags: str) -> dict[str, Any]:
    found = story.command("run", str(path), "--json", *flags)
    assert found.returncode == 0, found.stderr
    document: dict[str, Any] = json.loads(found.stdout)
    return document


def clips(story: Story, path: Path) -> list[str]:
    folder = story.folder(path) / "videos"
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.mp4"))


BASE = """
prompt: {salt} boat on a {{{{ place }}}}
settings: {{duration: 3}}
matrix: {{place: [sea, lake]}}
"""


def test_a_changed_word_or_length_is_a_new_clip(story: Story) -> None:
    text = BASE.format(salt="word")
    path = written(story, "word", text)
    bought(story, path)
    written(story, "word", text.replace("boat", "ship"))
    assert plan(story, path) == {"changed": 2, "to_buy": 2, "cost": 2.52}
    bought(story, path)
    assert len(story.till("word ")) == 4
    before, after = clips(story, path)[:2], clips(story, path)[2:]
    assert [name.split("~")[0] for name in before] == [
        "_previous/lake",
        "_previous/sea",
    ]
    assert after == ["lake.mp4", "sea.mp4"]
    text = text.replace("boat", "ship").replace("duration: 3", "duration: 4")
    written(story, "word", text)
    assert plan(story, path) == {"changed": 2, "to_buy": 2, "cost": 3.36}


@pytest.mark.parametrize(
    ("salt", "old", "new", "names"),
    [
        ("axis", "[sea, lake]", "[{id: see, place: x}, lake]", None),
        ("name", "settings:", "output: 'x/{{ slug }}'\nsettings:", ["x/a", "x/b"]),
        pytest.param("own", "id: a", "id: c", ["b", "c"], marks=pytest.mark.slow),
        ("label", "matrix: {}", "labels: {week: 7}", ["a", "b"]),
    ],
)
def test_a_name_costs_nothing(
    story: Story, salt: str, old: str, new: str, names: list[str] | None
) -> None:
    rows = f"[{{id: a, prompt: {salt} boat 1}}, {{id: b, prompt: {salt} boat 2}}]"
    text = f"settings: {{duration: 3}}\nmatrix: {{}}\nprompts: {rows}\n"
    if names is None:
        text = (
            BASE.format(salt=salt)
            .replace("{{ place }}", "sea")
            .replace("[sea, lake]", "[sea]")
        )
        old, new, names = "[sea]", "[ocean]", ["ocean"]
    path = written(story, salt, text)
    bought(story, path)
    charged = story.till(f"{salt} ")
    written(story, salt, text.replace(old, new))
    counts = plan(story, path)
    assert (counts.get("to_buy"), counts["cost"]) == (None, 0)
    bought(story, path)
    assert clips(story, path) == [f"{name}.mp4" for name in names]
    assert story.till(f"{salt} ") == charged


def test_a_new_value_costs_its_own_clips(story: Story) -> None:
    text = BASE.format(salt="more")
    path = written(story, "more", text)
    bought(story, path)
    written(story, "more", text.replace("[sea, lake]", "[pond, sea, lake]"))
    assert plan(story, path) == {"new": 1, "done": 2, "to_buy": 1, "cost": 1.26}
    bought(story, path)
    assert [one.prompt for one in story.till("more ")][2:] == ["more boat on a pond"]


def test_a_removed_row_stays_on_disk(story: Story) -> None:
    text = BASE.format(salt="less")
    path = written(story, "less", text)
    bought(story, path)
    written(story, "less", text.replace("[sea, lake]", "[lake]"))
    assert plan(story, path) == {"removed": 1, "done": 1, "cost": 0}
    bought(story, path)
    assert clips(story, path) == ["lake.mp4", "sea.mp4"]


def test_a_removed_row_in_flight_is_still_collected(tmp_path: Path) -> None:
    with sandboxed(tmp_path, speed=80) as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        text = BASE.format(salt="flight") + "task_timeout: 0.2s\n"
        path = written(story, "flight", text)
        found = story.command("run", str(path))
        assert found.returncode == 3, found.stderr
        assert clips(story, path) == []
        text = BASE.format(salt="flight").replace("[sea, lake]", "[lake]")
        bought(story, written(story, "flight", text))
        assert clips(story, path) == ["lake.mp4", "sea.mp4"]
        tally = Tally.of(journal.read(story.folder(path)))
        assert {word(state) for state in tally.states.values()} == {"done"}
        assert len(story.till("flight ")) == 2


@pytest.mark.parametrize(
    ("salt", "old", "new"),
    [
        ("turn", "[sea, lake]", "[lake, sea]"),
        pytest.param(
            "say",
            "settings:",
            "# a word\ndescription: new\nx-house: {a: 1}\nsettings:",
            marks=pytest.mark.slow,
        ),
        ("pace", "settings:", "budget: 50\nrate: 5/s\nretry: 3\ntier: gold\nsettings:"),
        pytest.param(
            "tell",
            "settings:",
            "notify: [{on: [failed], command: ['true']}]\nsettings:",
            marks=pytest.mark.slow,
        ),
        ("spell", "{duration: 3}", "{duration: 3.0, sound: false, cfg_scale: 0.5}"),
    ],
)
def test_what_is_not_sent_costs_nothing(
    story: Story, salt: str, old: str, new: str
) -> None:
    text = BASE.format(salt=salt)
    path = written(story, salt, text)
    bought(story, path)
    before, charged = clips(story, path), story.till(f"{salt} ")
    assert old in text
    written(story, salt, text.replace(old, new))
    assert plan(story, path) == {"done": 2, "cost": 0}
    assert bought(story, path)["reason"] == "nothing_to_do"
    assert (clips(story, path), story.till(f"{salt} ")) == (before, charged)


def test_a_higher_price_is_for_what_is_still_to_buy(story: Story) -> None:
    text = BASE.format(salt="price")
    path = written(story, "price", text)
    bought(story, path, "-n", "1")
    written(story, "price", text + "price: {per_second: 0.5}\n")
    assert plan(story, path) == {"new": 1, "done": 1, "to_buy": 1, "cost": 1.5}


def test_more_takes_cost_the_new_takes(story: Story) -> None:
    text = BASE.format(salt="take")
    path = written(story, "take", text)
    bought(story, path)
    written(story, "take", text + "takes: 2\n")
    assert plan(story, path) == {"new": 2, "done": 2, "to_buy": 2, "cost": 2.52}
    bought(story, path)
    assert clips(story, path) == [
        "lake.mp4", "lake_t2.mp4", "sea.mp4", "sea_t2.mp4",
    ]  # fmt: skip
    assert len(story.till("take ")) == 4


def test_an_edit_is_shown_against_what_is_there_now(story: Story) -> None:
    """There and back again: the third edit is one of the first text."""

    def edit(animal: str) -> Path:
        row = f"prompts: [{{id: a, prompt: diff boat with {animal}}}]"
        return written(story, "diff", f"settings: {{duration: 3}}\n{row}\n")

    for animal in ("foxes", "owls", "foxes"):
        bought(story, edit(animal))
    assert len(story.till("diff ")) == 2
    page = story.command("plan", str(edit("bears")), "-v").stdout
    assert "foxes" in page
    assert "owls" not in page
