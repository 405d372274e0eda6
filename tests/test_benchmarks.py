"""Benchmarks work. How fast anything is, no test says."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.figures import Figure, Outcome, passed, table

ROOT = Path(__file__).parent.parent
NAMES = sorted(
    file.stem
    for file in (ROOT / "benchmarks").glob("[a-z]*.py")
    if "\ndef measure(" in file.read_text(encoding="utf-8")
)


def benchmarks(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_gives_figures_or_says_what_it_lacks(name: str) -> None:
    done = benchmarks(name, "--quick", "--json")
    assert done.returncode == 0, done.stderr
    (one,) = json.loads(done.stdout)["benchmarks"]
    assert one["name"] == name
    assert not one["crashed"]
    assert one["figures"] or one["skipped"]
    figures: list[dict[str, Any]] = one["figures"]
    assert all(figure["ours"] > 0 for figure in figures)
    assert all(bool(one["peer"]) is (one["theirs"] is not None) for one in figures)


def test_a_name_that_is_none_is_refused() -> None:
    done = benchmarks("no-such-thing")
    assert done.returncode == 2
    assert all(name in done.stderr for name in NAMES)


def test_a_table_shows_figures_what_was_skipped_and_what_crashed() -> None:
    figures = [
        Figure("P10", "rows", 30.0, "us", bound=20, beyond=10),
        Figure("P4", "bytes", 8.0, "MB/s", 1, 2, "curl", 4.0, more_is_better=True),
        Figure("P6", "status", 0.5, "s", 1, 0.25, "json", 1.0),
    ]
    good, bad = Outcome("a", figures), Outcome("b", crashed="ValueError: no")
    text = table([good, bad, Outcome("c", skipped="no nginx")], quick=False)
    rows = text.splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["P4", "P6", "P10", "b", "c"]
    endings = ["beyond", "ok", "PAST ITS BOUND", "CRASHED: ValueError: no", "no nginx"]
    assert all(row.endswith(end) for row, end in zip(rows, endings, strict=True))
    assert not passed([good], quick=False)
    assert passed([good], quick=True)
    assert not passed([bad], quick=True)
    assert passed([Outcome("d", figures[1:])], quick=False)
    assert Outcome.parse(good.as_json()) == good
