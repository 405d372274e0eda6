"""A long sheet full of mistakes: what is said is short, and so is what is kept."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import goldens
import pytest

from batchgen import manifest, models, tasks
from batchgen.findings import Finding, Gathered, Place, as_json

MOST = 250  # bytes a row; one finding a row would take several times as much
KINDS: dict[str, Callable[[int], str]] = {
    "not-whole": lambda row: f"a{row},A boat {row},4.5",
    "out-of-range": lambda row: f"a{row},A boat {row},99",
    "sheet-error": lambda row: f"a{row},#REF!,5",
    "extra-cell": lambda row: f"a{row},A boat, {row},5",
    "bad-id": lambda row: f"...,A boat {row},5",
    "identical-requests": lambda row: f"a{row},A boat,5",
    "duplicate-id": lambda row: f"a,A boat {row},5",
    "braces": lambda row: f"a{row},A {{boat|ship}} {row},5",
    "long-prompt": lambda row: f"a{row},{'boat ' * 320}{row},5",
}


def sheet(path: Path, row: Callable[[int], str], rows: int) -> Path:
    with path.open("w", encoding="utf-8") as stream:
        stream.write("id,prompt,duration\n")
        stream.writelines(f"{row(number)}\n" for number in range(rows))
    return path


@pytest.mark.parametrize("rule", KINDS)
def test_one_mistake_in_every_row_is_one_finding(tmp_path: Path, rule: str) -> None:
    path = sheet(tmp_path / "bad.csv", KINDS[rule], 500)
    found, _ = goldens.found_in(path)
    mine = [one for one in found if one.rule == rule]
    assert len(mine) == 1
    others = 500 - (rule in ("identical-requests", "duplicate-id"))
    first = 502 - others
    assert mine[0].place.line == first
    lines = ", ".join(str(first + number) for number in (1, 2, 3))
    assert f"and {others - 1} more rows: {lines} …" in as_json(mine[0])["fix"]


@pytest.mark.parametrize(
    ("rule", "rows"),
    [
        *((rule, 6_000) for rule in list(KINDS)[:-1]),
        *(pytest.param(rule, 100_000, marks=pytest.mark.slow) for rule in KINDS),
    ],
)
def test_what_is_kept_does_not_grow_with_the_rows(
    tmp_path: Path, rule: str, rows: int
) -> None:
    catalog = models.catalog()
    path = sheet(tmp_path / "bad.csv", KINDS[rule], rows)
    read = manifest.load(path, environ={}, catalog=catalog, live=True)
    tracemalloc.start()
    try:
        expansion = tasks.check(read, catalog, live=True, max_tasks=rows)
        for _ in expansion:
            pass
        assert rule in {one.rule for one in expansion.findings}
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 500_000 + MOST * rows, f"{peak / rows:.0f} bytes a row"


def test_a_row_that_makes_many_tasks_counts_once() -> None:
    found = Gathered()
    for line in (2, 2, 3, 3, 4):
        found.append(Finding(Place("a.csv", line, 1, 2), "r", "m", path=("prompt",)))
    (one,) = found
    assert one.advice == "and 2 more rows: 3, 4"


@pytest.mark.parametrize(("rows", "said"), [(15, "15 tasks for $18.90"), (8, "")])
def test_the_guard_names_the_true_count_and_price(
    tmp_path: Path, rows: int, said: str
) -> None:
    path = sheet(tmp_path / "many.csv", lambda row: f"a{row},A boat {row},3", rows)
    catalog = models.catalog()
    read = manifest.load(path, environ={}, catalog=catalog, live=True)
    expansion = tasks.check(read, catalog, live=True, max_tasks=10)
    assert len(list(expansion)) == min(rows, 10)
    messages = [one.message for one in expansion.findings]
    wanted = f"this manifest makes {said}, and 10 is the limit"
    assert messages == ([wanted] if said else [])


def test_past_what_is_counted_one_by_one_the_rows_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_COUNTED", 12)
    path = sheet(tmp_path / "many.csv", lambda row: f"a{row},A boat {row},3", 40)
    catalog = models.catalog()
    read = manifest.load(path, environ={}, catalog=catalog, live=True)
    expansion = tasks.check(read, catalog, live=True, max_tasks=10)
    assert len(list(expansion)) == 10
    (found,) = expansion.findings
    assert "makes 40 tasks or more, about $50.40, and 10" in found.message
    assert found.advice == "if that is meant: --max-tasks 40"
