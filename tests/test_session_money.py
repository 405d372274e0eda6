"""The cap of one calendar start, and buying again, as a user meets them."""

import json
import os
from pathlib import Path

import pytest

from batchgen.events import AttemptStarted, OutputsMoved, SessionOpened
from batchgen.plan import Policy
from batchgen.state import word
from conftest import Story

PRICE = 1_260_000  # three seconds
HOURS = "budget: {total: 50, session: 2.60}"


def opened(story: Story, manifest: Path) -> list[SessionOpened]:
    records, _ = story.replay(manifest)
    events = [record.event for record in records]
    return [event for event in events if isinstance(event, SessionOpened)]


def without_its_end(story: Story, manifest: Path) -> None:
    """As if the last session had died just before it could say how it ended."""
    folder = story.folder(manifest)
    state = folder / "state.jsonl"
    lines = state.read_bytes().splitlines(keepends=True)
    assert b"SessionClosed" in lines[-1]
    state.write_bytes(b"".join(lines[:-1]))
    os.truncate(folder / ".lock", 0)  # the mark knows of the line


def test_a_session_buys_for_its_own_cap_and_the_next_one_afresh(story: Story) -> None:
    manifest = story.manifest([f"night boat {n}" for n in range(8)], HOURS)
    for bought in (2, 4):
        found = story.command("run", str(manifest))
        assert found.returncode == 3, found.stderr
        assert len(story.till("night ")) == bought
    first, second = opened(story, manifest)
    assert (first.session_cap, first.continues) == (2_600_000, False)
    assert (second.continues, second.session_spent) == (False, 0)


def test_a_restart_after_a_crash_has_what_the_crash_left(story: Story) -> None:
    manifest = story.manifest([f"crash boat {n}" for n in range(8)], HOURS)
    story.command("run", str(manifest))
    without_its_end(story, manifest)
    found = story.command("run", str(manifest))
    assert found.returncode == 3, found.stderr
    assert len(story.till("crash ")) == 2
    second = opened(story, manifest)[1]
    assert (second.continues, second.session_spent) == (True, 2 * PRICE)


def test_the_ceiling_of_the_machine_lowers_the_session_where_there_is_one(
    story: Story,
) -> None:
    manifest = story.manifest([f"ceil boat {n}" for n in range(3)], HOURS)
    story.environ["BATCHGEN_MAX_BUDGET"] = "1.30"
    for bought in (1, 2):
        assert story.command("run", str(manifest)).returncode == 3
        assert len(story.till("ceil ")) == bought
    assert opened(story, manifest)[0].cap == 50_000_000


def test_again_buys_a_done_clip_once_more_and_keeps_the_old_one(story: Story) -> None:
    manifest = story.manifest(["again boat 0", "again boat 1"])
    assert story.command("run", str(manifest)).returncode == 0
    state = story.folder(manifest)
    words = ("run", str(manifest), "--again", "-n", "1")
    found = story.command(*words)
    assert found.returncode == 0, found.stderr
    assert len(story.till("again ")) == 3
    assert len(list((state / "videos").glob("*.mp4"))) == 2
    assert len(list((state / "videos" / "_previous").glob("*.mp4"))) == 1
    records, tally = story.replay(manifest)
    assert [word(one) for one in tally.states.values()] == ["done", "done"]
    moved = [r.event for r in records if isinstance(r.event, OutputsMoved)]
    assert [m.moves[0].target.split("/")[0] for m in moved] == ["_previous"]
    # The crash of such a session does not make the same words buy a third time.
    without_its_end(story, manifest)
    assert story.command(*words).returncode == 0
    assert len(story.till("again ")) == 3


def test_again_after_a_good_end_buys_again(story: Story) -> None:
    manifest = story.manifest(["calmly boat 0"])
    for flags, bought in (((), 1), ((), 1), (("--again",), 2), (("--again",), 3)):
        assert story.command("run", str(manifest), *flags).returncode == 0
        assert len(story.till("calmly ")) == bought


@pytest.mark.anyio
async def test_what_was_paid_twice_knowingly_is_fetched_twice(story: Story) -> None:
    """A doubt is bought anew, then the lost one turns up: both clips are kept."""
    prompt = "twice boat 0"
    manifest = story.manifest([prompt])
    await story.session(manifest)
    folder = story.folder(manifest)
    lines = (folder / "state.jsonl").read_bytes().splitlines(keepends=True)
    last = next(n for n, line in enumerate(lines) if b"AttemptStarted" in line)
    (folder / "state.jsonl").write_bytes(b"".join(lines[: last + 1]))
    os.truncate(folder / ".lock", 0)
    (clip,) = (folder / "videos").glob("*.mp4")
    clip.unlink()
    # The history hides it now, and shows it in the session after that.
    twice = Policy(retry=frozenset({"uncertain"}))
    await story.session(manifest, policy=twice, faults="list_404")
    assert len(story.till("twice ")) == 2
    runner, tally = await story.session(manifest)
    assert runner.bugs == []
    (state,) = tally.states.values()
    assert [attempt.saved for attempt in state.attempts] == [True, True]
    names = sorted(path.name for path in (folder / "videos").glob("*.mp4"))
    assert len(names) == 2
    assert any(f"~{state.attempts[0].prediction[:8]}" in name for name in names)
    assert word(state) == "done"
    started = [
        json.loads(line)
        for line in (folder / "state.jsonl").read_text().splitlines()
        if AttemptStarted.__name__ in line
    ]
    assert len(started) == 2
