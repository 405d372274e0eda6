"""A history that hides what was asked for: predictions are looked at, or a person."""

import os
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from batchgen.answers import Prediction
from batchgen.client import Client
from conftest import Story


def lost_answer(story: Story, manifest: Path) -> str:
    """The id of a clip whose acceptance was never written down."""
    _, tally = anyio.run(story.session, manifest)
    (state,) = tally.states.values()
    folder = story.folder(manifest)
    lines = (folder / "state.jsonl").read_bytes().splitlines(keepends=True)
    last = next(n for n, line in enumerate(lines) if b"AttemptStarted" in line)
    (folder / "state.jsonl").write_bytes(b"".join(lines[: last + 1]))
    os.truncate(folder / ".lock", 0)
    return state.prediction


def test_the_prediction_itself_tells_what_the_listing_hides(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = story.manifest(["hides boat 0"])
    identity = lost_answer(story, manifest)
    (task,) = story.tasks(manifest)
    plain = Client.result

    async def result(self: Client, name: str) -> Prediction:
        """As a service answers that shows the inputs only there."""
        found = await plain(self, name)
        return replace(found, inputs=dict(task.input)) if name == identity else found

    monkeypatch.setattr(Client, "result", result)
    run = lambda: story.session(manifest, faults="list_hides_inputs")  # noqa: E731
    _, tally = anyio.run(run)
    assert tally.counts["done"] == 1
    assert next(iter(tally.states.values())).prediction == identity
    assert len(story.till("hides ")) == 1


def test_else_a_person_sees_the_candidates_and_what_to_type(story: Story) -> None:
    manifest = story.manifest(["table boat 0"])
    identity = lost_answer(story, manifest)
    _, tally = anyio.run(lambda: story.session(manifest, faults="list_hides_inputs"))
    assert tally.counts["uncertain"] == 1
    assert len(story.till("table ")) == 1
    shown = [text for text in story.notices if "may be one of these" in text]
    assert len(shown) == 1
    assert f"  {identity}  20" in shown[0]
    (line,) = [part for part in shown[0].split("\n") if "batchgen resolve" in part]
    words = line.split("batchgen ")[1].split(" (or")[0].replace("ID", identity)
    assert story.command(*words.split()).returncode == 0
    _, tally = anyio.run(story.session, manifest)
    assert tally.counts["done"] == 1
    assert len(story.till("table ")) == 1
