"""A state file that a person took as it is: the account is looked at first."""

import json
from pathlib import Path

import pytest

from batchgen.events import Resealed
from conftest import Story

pytestmark = pytest.mark.anyio


def rolled_back(story: Story, manifest: Path, lines: int) -> None:
    """An older copy, gone on with by a person who did not look at the account."""
    state = story.folder(manifest) / "state.jsonl"
    kept = state.read_bytes().splitlines(keepends=True)[:lines]
    state.write_bytes(b"".join(kept))
    for clip in (story.folder(manifest) / "videos").glob("*.mp4"):
        clip.unlink()
    words = ("state", manifest.stem, "accept-rollback", "--offline", "--yes")
    assert story.command(*words).returncode == 0


@pytest.mark.parametrize("lines", [0, 1])
async def test_nothing_is_bought_until_the_account_was_looked_at(
    story: Story, lines: int
) -> None:
    word = f"older{lines}"
    manifest = story.manifest([f"{word} boat 0", f"{word} boat 1"])
    await story.session(manifest)
    rolled_back(story, manifest, lines)
    runner, tally = await story.session(manifest)
    assert len(story.till(word)) == 2, "what the copy does not know was bought again"
    assert runner.stopped is not None
    assert runner.stopped.reason == "state"
    (said,) = [text for text in story.notices if "Nothing is bought" in text]
    assert "accept-rollback" in said
    assert tally.unaudited
    # The same where the history cannot be read at all.
    runner, _ = await story.session(manifest, faults="list_404")
    assert len(story.till(word)) == 2
    assert runner.stopped is not None
    assert runner.stopped.reason == "state"


async def test_where_nothing_is_missing_the_look_is_enough(story: Story) -> None:
    manifest = story.manifest(["sealed boat 0"])
    await story.session(manifest)
    more = story.manifest(["sealed boat 0", "sealed boat 1"])
    state = story.folder(more) / "state.jsonl"
    text = state.read_text().replace('"tool":"batchgen', '"tool":"Batchgen', 1)
    state.write_text(text)
    assert story.command("state", more.stem, "reseal", "--yes").returncode == 0
    runner, tally = await story.session(more)
    # Other tests of this account bought in this time; a person has looked at them.
    if runner.stopped is not None:
        shown = story.command("state", more.stem, "accept-rollback", "--yes", "--json")
        assert shown.returncode == 0, shown.stderr
        runner, tally = await story.session(more)
    assert runner.stopped is None
    assert not tally.unaudited
    assert len(story.till("sealed ")) == 2


async def test_a_person_sees_what_the_copy_lacks_and_goes_on(story: Story) -> None:
    manifest = story.manifest(["shown boat 0"])
    _, tally = await story.session(manifest)
    (state,) = tally.states.values()
    folder = story.folder(manifest)
    lines = (folder / "state.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "state.jsonl").write_bytes(lines[0])
    words = ("state", manifest.stem, "accept-rollback", "--yes", "--json")
    shown = story.command(*words)
    assert shown.returncode == 0, shown.stderr
    orphans = json.loads(shown.stdout)["orphans"]
    assert any(state.prediction in orphan for orphan in orphans)
    last = story.replay(manifest)[0][-1].event
    assert isinstance(last, Resealed)
    assert last.audited
