"""Signals of all kinds to a real process: nothing paid is lost, and the code tells."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from batchgen.state import Status
from conftest import Story

TERM, HUP, INT = signal.SIGTERM, signal.SIGHUP, signal.SIGINT


def prepared(story: Story, fault: str) -> None:
    """The next submission meets this fault."""
    url = f"{story.api}/__sandbox__/faults"
    httpx.post(url, content=fault).raise_for_status()


@contextlib.contextmanager
def running(
    story: Story, manifest: Path, word: str
) -> Iterator["subprocess.Popen[str]"]:
    """A run that has come so far that this word was journaled."""
    process = story.start("run", str(manifest))
    state = story.folder(manifest) / "state.jsonl"
    try:
        while process.poll() is None:
            if state.exists() and f'"t":"{word}"' in state.read_text():
                break
            time.sleep(0.02)
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("number", "code"), [(TERM, 143), (HUP, 129)])
def test_whoever_will_not_wait_is_not_kept_waiting(
    story: Story, number: signal.Signals, code: int
) -> None:
    manifest = story.manifest([f"drain{code} boat 0"])
    prepared(story, "stuck")
    with running(story, manifest, "AttemptAccepted") as process:
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == code
    assert "waiting at most 3 s" in said
    (state,) = story.replay(manifest)[1].states.values()
    assert state.status is Status.RENDERING
    assert len(story.till(f"drain{code}")) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(TERM, 143), (HUP, 129), (INT, 130)])
def test_the_second_signal_awaits_what_is_being_bought(
    story: Story, number: signal.Signals, code: int
) -> None:
    manifest = story.manifest([f"second{code} boat 0", f"second{code} boat 1"])
    prepared(story, "slow_answer=3")
    with running(story, manifest, "AttemptStarted") as process:
        for _ in range(2):
            process.send_signal(number)
            time.sleep(0.3)
        process.communicate(timeout=60)
        assert process.returncode == code
    _, tally = story.replay(manifest)
    assert not list(tally.doubtful())
    assert [one.status for one in tally.states.values()] == [Status.RENDERING]
    assert story.command("run", str(manifest)).returncode == 0
    assert len(story.till(f"second{code}")) == 2


def test_the_third_signal_dies_at_once_and_the_next_run_finds_it(story: Story) -> None:
    manifest = story.manifest(["third boat 0", "third boat 1"])
    prepared(story, "slow_answer=4")
    with running(story, manifest, "AttemptStarted") as process:
        for _ in range(3):
            process.send_signal(TERM)
            time.sleep(0.3)
        began = time.monotonic()
        process.communicate(timeout=60)
        assert process.returncode == 143
        assert time.monotonic() - began < 3
    time.sleep(4)  # the sandbox charges, answers nobody, and lists it
    assert story.command("run", str(manifest)).returncode == 0
    assert len(story.till("third ")) == 2


def test_a_process_that_was_stopped_goes_on(story: Story) -> None:
    manifest = story.manifest([f"frozen boat {n}" for n in range(3)])
    prepared(story, "slow_answer=2")
    with running(story, manifest, "AttemptStarted") as process:
        process.send_signal(signal.SIGSTOP)
        time.sleep(4)
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert len(story.till("frozen ")) == 3
    text = (story.folder(manifest) / "state.jsonl").read_text()
    assert "ClockJumped" not in text


@pytest.mark.parametrize("both", [True, False])
def test_a_display_that_nobody_reads_ends_alone(story: Story, both: bool) -> None:  # noqa: FBT001
    word = f"unread{both}"
    manifest = story.manifest([f"{word} boat {n}" for n in range(3)])
    process = subprocess.Popen(
        [sys.executable, "-m", "batchgen", "run", str(manifest)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if both else subprocess.DEVNULL,
        env=story.env(),
    )
    assert process.stdout is not None
    process.stdout.close()
    process.wait(timeout=60)
    assert process.returncode == 0
    assert story.replay(manifest)[1].counts["done"] == 3
    assert len(story.till(word)) == 3
    assert "SessionClosed" in (story.folder(manifest) / "state.jsonl").read_text()


def test_a_file_that_may_not_grow_is_an_error_and_no_death(story: Story) -> None:
    manifest = story.manifest(["capped boat 0"])
    line = f"ulimit -f 8; exec {sys.executable} -m batchgen run {manifest}"
    process = subprocess.Popen(
        ["/bin/bash", "-c", line],
        env=story.env(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process:
        assert any("the disk is full" in said for said in process.stderr)
        process.send_signal(INT)
        process.stderr.read()
    assert process.returncode in (8, 130)  # the results may find no room either
    assert len(story.till("capped ")) == 0
    assert story.command("run", str(manifest)).returncode == 0
    assert len(story.till("capped ")) == 1
