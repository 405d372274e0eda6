"""A row that has a form becomes the same task as one that goes the whole way."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchgen.findings import Finding
from batchgen.forms import Forms
from batchgen.manifest import load
from batchgen.models import catalog
from batchgen.readers.csv import Row
from batchgen.task import Task
from batchgen.tasks import Expansion

CELLS = {
    "id": ["a", "b", "c", "A", "con", "x/y", "", "é", "#<x", "-", "n" * 90],
    "prompt": [
        "A boat",
        " A boat ",
        "",
        "#REF!",
        "<empty>",
        "e\u0301",
        "{a|b}",
        "x" * 1501,
        "x" * 2501,
        'say "hi", now',
        "two\nlines",
        "back\\slash \x1f",
        "\ue0001\ue001",
    ],
    "duration": ["5", "", "3", "5.0", "99", "05", "five"],
    "aspect_ratio": ["16:9", "9x16", "", "4:3"],
    "sound": ["true", "yes", "", "no", "maybe"],
    "negative_prompt": ["blurry", "", "{", "  ", "x" * 2501],
    "cfg_scale": ["0.5", "0,7", "", "2"],
    "campaign": ["spring", "", "ünter"],
    "model": ["", "kling-4k", "kling-std", "nobody/knows"],
    "takes": ["", "1", "2"],
    "price": ["", "1.5"],
    "output": ["", "a/b.mp4", "../x"],
    "image": ["", "https://cdn.example/a.jpg", "no-such.jpg"],
    "element_list": ["", '["829301"]', '["cat"]'],
    "multi_prompt": ["", '[{"prompt": "A kettle"}]'],
    "scene_1": ["", "A kettle clicks"],
}


@st.composite
def sheets(draw: st.DrawFn) -> str:
    """A sheet of some of these columns; most rows are plain."""
    more = draw(st.lists(st.sampled_from(sorted(CELLS)), unique=True, max_size=6))
    columns = [*dict.fromkeys(("prompt", *more))]
    rows = []
    for _ in range(draw(st.integers(1, 8))):
        odd = draw(st.booleans())
        cells = [
            draw(st.sampled_from(CELLS[name][: None if odd else 3])) for name in columns
        ]
        rows.append(",".join('"' + cell.replace('"', '""') + '"' for cell in cells))
    return "\n".join([",".join(columns), *rows]) + "\n"


def walked(path: Path, *, quick: bool) -> tuple[list[Task], list[Finding], Any]:
    models = catalog()
    read = load(path, environ={}, catalog=models, live=True)
    walk = Expansion(read, models, live=True, max_tasks=100, quick=quick)
    tasks = list(walk)
    sums = walk.count, walk.price, walk.seconds, walk.product, walk.rows
    return tasks, walk.findings, sums


@given(sheets())
@example("id,prompt\na,A boat\nb,A boat\na,Another\n")
@example("prompt\nA boat\nA cat\n\nA boat\n")
@example("id,prompt,duration\na,A boat,5\nb,A cat,5\nc,A dog\nd,A cow,5,6\n")
@example("id,prompt,takes\na,A boat,2\nb,A cat,2\nc,A dog,2\n")
@example(f"id,prompt\na,A boat\n{'b' * 81},A cat\n")
@example("id,prompt\na,A boat\n#REF!,A cat\n<empty>,A dog\n")
@example("prompt,negative_prompt\nA boat,x\nA cat," + "x" * 2501 + "\n")
@example("id,prompt\na,A boat\nb,\nc,A cat\nd,\n")
@example("id,prompt,output\na,A boat,\nb,A cat,x.mp4\nc,A dog,x.mp4\n")
def test_a_form_changes_nothing(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sheet.csv"
        path.write_text(text, encoding="utf-8")
        quick, whole = (walked(path, quick=quick) for quick in (True, False))
    assert quick == whole
    for one, other in zip(quick[0], whole[0], strict=True):
        assert [*one.input] == [*other.input]  # it is sent in this order
        assert [*one.labels] == [*other.labels]


def test_plain_rows_have_forms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[Task | None] = []
    whole = Forms.task

    def task(self: Forms, row: Row) -> Task | None:
        made.append(whole(self, row))
        return made[-1]

    monkeypatch.setattr(Forms, "task", task)
    path = tmp_path / "sheet.csv"
    rows = [f"c{n},A boat {n},{3 + n % 3},spring\n" for n in range(30)]
    path.write_text("id,prompt,duration,campaign\n" + "".join(rows), encoding="utf-8")
    found, _, _ = walked(path, quick=True)
    assert len(found) == 30
    assert sum(one is not None for one in made) == 27
