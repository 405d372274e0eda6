"""Whether the night is long enough, said in the evening."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from batchgen.events import (
    AttemptAccepted,
    Event,
    PredictionCompleted,
    SessionOpened,
    TaskPlanned,
)
from batchgen.forecast import Forecast, render_time
from batchgen.records import Record
from conftest import Story

OPENED = SessionOpened(
    tool="t", pid=1, host="h", cap=None, concurrency=1, manifest="m", endpoint="e"
)
START = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
MODEL = "kling"


def bought(task: str, *, model: str = MODEL, after: float, took: float) -> list[Record]:
    """The records of one clip."""
    events: list[tuple[float, Event]] = [
        (
            after,
            TaskPlanned(
                task=task,
                slug=task,
                labels={},
                model=model,
                input={},
                take=1,
                price=1,
                seconds=5,
                output="a.mp4",
            ),
        ),
        (after, AttemptAccepted(task=task, attempt=1, prediction=task)),
        (after + took, PredictionCompleted(task=task, attempt=1, outputs=())),
    ]
    return [
        Record(1, (START + timedelta(seconds=at)).isoformat(), event)
        for at, event in events
    ]


@pytest.mark.parametrize(
    ("clips", "concurrency", "starts", "last_start", "whole"),
    [
        (0, 3, None, 0, 0),
        (1, 3, None, 0, 200),
        (3, 3, None, 0, 200),
        (4, 3, None, 200, 400),
        (25, 3, None, 1600, 1800),
        (25, 3, 5, 1600, 1800),  # slots are the narrow place
        (61, 1000, 60, 60, 260),  # the rate is
    ],
)
def test_the_narrow_place_decides(
    clips: int, concurrency: int, starts: int | None, last_start: int, whole: int
) -> None:
    outlook = Forecast(concurrency, starts, 60.0, render_s=200)
    assert outlook.until_last_start(clips) == pytest.approx(last_start)
    assert outlook.span(clips) == pytest.approx(whole)
    if clips:
        assert outlook.started_within(last_start + 0.01) >= clips
        assert outlook.started_within(last_start - 1) < clips or not last_start


def test_the_usual_time_is_measured_per_model() -> None:
    records = [
        *bought("a" * 32, after=0, took=100),
        *bought("b" * 32, after=5, took=140),
        *bought("c" * 32, after=9, took=900),
        *bought("d" * 32, model="other", after=0, took=1),
    ]
    assert render_time(records, MODEL) == 140
    assert render_time(records, "nobody") is None


def test_the_plan_says_by_how_much_the_night_is_too_short(story: Story) -> None:
    prompts = [f"evening clip {number}" for number in range(30)]
    manifest = story.manifest(prompts, "budget: 100", "rate: 10/min", "deadline: 90s")
    page = story.command("plan", str(manifest)).stdout
    line = next(line for line in page.splitlines() if "deadline" in line)
    assert "the time is 1m 2" in line  # 174 s are needed, 90 are there
    assert re.search("short for this plan: about 1[56] of 30 clips start before", line)
    document = json.loads(story.command("plan", str(manifest), "--json").stdout)
    assert document["clips_in_time"] in (15, 16)
    assert 80 <= document["short_by_s"] <= 90
    assert document["eta_measured"] is False


def test_a_run_teaches_the_next_plan(story: Story) -> None:
    first = story.manifest(["teacher clip"], "budget: 10", "deadline: 8h")
    assert story.command("run", str(first), "--yes").returncode == 0
    first.write_text(first.read_text() + "  - a second clip\n", encoding="utf-8")
    page = story.command("plan", str(first)).stdout
    assert "guess" not in page
    assert "all 1 clip start before it" not in page
    assert "the one clip starts before it" in page


def test_a_clip_that_waited_for_a_later_session_tells_no_time() -> None:
    """How long nobody looked is not how long it took."""
    planned, accepted, completed = bought("a" * 32, after=0, took=9000)
    opened = Record(1, accepted.at, OPENED)
    assert render_time([planned, accepted, completed], MODEL) == 9000
    assert render_time([planned, accepted, opened, completed], MODEL) is None
