"""What only a person can decide, and what becomes of it."""

import json
import sqlite3
from pathlib import Path

import pytest

from batchgen.events import AttemptAbsent, AttemptAccepted
from batchgen.state import word
from conftest import Story

pytestmark = pytest.mark.anyio


def only_id(story: Story, prompt: str) -> str:
    """The one prediction that was bought for a prompt."""
    uri = f"file:{story.data / 'sandbox.db'}?mode=ro"
    connection = sqlite3.connect(uri, uri=True)
    try:
        rows = connection.execute("SELECT id, input FROM predictions").fetchall()
    finally:
        connection.close()
    (found,) = [one for one, raw in rows if json.loads(raw)["prompt"] == prompt]
    return str(found)


async def in_doubt(story: Story, prompt: str, fault: str) -> tuple[Path, str, str]:
    """A run whose only clip is in doubt: manifest, name of the run, slug."""
    manifest = story.manifest([prompt])
    _, tally = await story.session(manifest, faults=f"{fault},list_404")
    (state,) = tally.states.values()
    assert word(state) == "uncertain"
    assert state.planned is not None
    return manifest, story.folder(manifest).name, state.planned.slug


async def test_one_that_never_arrived_is_bought_anew(story: Story) -> None:
    prompt = "never boat 0"
    manifest, run, slug = await in_doubt(story, prompt, "drop_before_accept")
    why = ("--reason", "the vendor says no")
    found = story.command("resolve", run, slug, "--absent", *why)
    assert found.returncode == 0, found.stderr
    assert "$1.26 are free again" in found.stdout
    records, tally = story.replay(manifest)
    event = records[-1].event
    assert isinstance(event, AttemptAbsent)
    assert event.by.endswith(": the vendor says no")
    assert "@" in event.by
    assert tally.ledger.committed == 0
    assert story.command("run", str(manifest)).returncode == 0
    assert len(story.till("never ")) == 1


async def test_one_that_did_is_collected_and_not_bought_again(story: Story) -> None:
    prompt = "arrived boat 0"
    manifest, run, _ = await in_doubt(story, prompt, "drop_after_accept")
    _, tally = story.replay(manifest)
    (task,) = tally.states
    mine = only_id(story, prompt)
    found = story.command("resolve", run, task[:8], "--prediction", mine, "--json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["attempt"] == 1
    records, _ = story.replay(manifest)
    event = records[-1].event
    assert isinstance(event, AttemptAccepted)
    assert (event.prediction, event.via) == (mine, "person")
    assert story.command("run", str(manifest)).returncode == 0
    assert len(story.till("arrived ")) == 1
    again = story.command("resolve", run, task[:8], "--absent")
    assert again.returncode == 2
    assert "not-in-doubt" in again.stderr


async def test_a_slip_is_told_and_nothing_is_written(story: Story) -> None:
    _, run, slug = await in_doubt(story, "slip boat 0", "drop_before_accept")
    state = story.root / "outputs" / run / "state.jsonl"
    before = state.read_bytes()
    for words, rule in (
        ((slug,), "usage"),
        ((slug, "--absent", "--prediction", "p"), "usage"),
        ((slug, "--prediction", "../p"), "bad-id"),
        (("nobody", "--absent"), "no-task"),
    ):
        found = story.command("resolve", run, *words)
        assert (found.returncode, f"[{rule}]" in found.stderr) == (2, True), words
    assert state.read_bytes() == before


async def test_what_a_dead_session_left_open_can_be_settled_by_hand(
    story: Story,
) -> None:
    """No session has looked at it since: the doubt is written down first."""
    prompt = "dead boat 0"
    manifest, run, slug = await in_doubt(story, prompt, "drop_before_accept")
    state = story.folder(manifest) / "state.jsonl"
    lines = state.read_bytes().splitlines(keepends=True)
    last = next(n for n, line in enumerate(lines) if b'"AttemptStarted"' in line)
    state.write_bytes(b"".join(lines[: last + 1]))
    (state.parent / ".lock").write_bytes(b"")
    assert story.command("resolve", run, slug, "--absent").returncode == 0
    records, _ = story.replay(manifest)
    assert [r.event.t for r in records[-2:]] == ["AttemptUncertain", "AttemptAbsent"]


async def test_an_id_has_one_owner(story: Story) -> None:
    prompt = "owner boat"
    manifest = story.manifest([f"{prompt} 0", f"{prompt} 1"])
    await story.session(manifest, faults="list_404")
    mine = only_id(story, f"{prompt} 0")
    more = story.manifest([f"{prompt} 0", f"{prompt} 1", f"{prompt} 2"])
    assert more == manifest
    await story.session(manifest, faults="drop_before_accept,list_404")
    _, tally = story.replay(manifest)
    (task,) = [task for task, one in tally.states.items() if word(one) == "uncertain"]
    run = story.folder(manifest).name
    found = story.command("resolve", run, task[:8], "--prediction", mine)
    assert (found.returncode, "[owned]" in found.stderr) == (2, True)
