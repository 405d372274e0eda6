"""Keys of a manifest that act while it runs: what they do, told by the till."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchgen import journal
from batchgen.events import OutputsMoved, SessionOpened
from batchgen.profile import TIERS
from batchgen.records import seal
from batchgen.tally import Tally
from conftest import Story, sandboxed

pytestmark = pytest.mark.slow  # half a hundred real commands, one after the other


@contextmanager
def faulty(folder: Path, *rules: str) -> Iterator[Story]:
    """A sandbox that misbehaves by these rules."""
    plan = folder / "faults.yaml"
    plan.write_text(f"seed: 7\nrules: [{', '.join(rules)}]\n", encoding="utf-8")
    with sandboxed(folder, "--faults", str(plan)) as addresses:
        yield Story(folder, addresses.api, folder / "sandbox")


def clips(story: Story, manifest: Path) -> list[str]:
    """The files of a run, by name below its videos folder."""
    folder = story.folder(manifest) / "videos"
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    )


def opened(story: Story, manifest: Path) -> list[SessionOpened]:
    """How the sessions of a run began."""
    records = journal.read(story.folder(manifest))
    return [one.event for one in records if isinstance(one.event, SessionOpened)]


@pytest.mark.parametrize(
    ("keys", "pace"),
    [
        (("tier: silver",), "100 at a time, 60 starts a minute"),
        (("tier: ultra",), "5000 at a time, 5000 starts a minute"),
        (("tier: gold", "concurrency: 7"), "7 at a time, 600 starts a minute"),
        (("tier: gold", "rate: 5/s"), "2000 at a time, 5 starts a second"),
    ],
)
def test_a_tier_sets_the_pace_and_keys_of_their_own_win(
    story: Story, keys: tuple[str, ...], pace: str
) -> None:
    manifest = story.manifest(["pace boat"], *keys)
    assert f"pace {pace}" in story.command("plan", str(manifest)).stdout


def test_a_tier_reaches_the_session(story: Story) -> None:
    manifest = story.manifest(["tier boat"], "tier: silver")
    assert story.command("run", str(manifest)).returncode == 0
    assert [one.concurrency for one in opened(story, manifest)] == [
        TIERS["silver"].concurrency
    ]


@pytest.mark.slow
def test_a_tier_is_kept_by_the_till(tmp_path: Path) -> None:
    with sandboxed(tmp_path, speed=40) as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        boats = [f"keep boat {n}" for n in range(9)]
        manifest = story.manifest(boats, "tier: bronze", "deadline: 2s")
        found = story.command("run", str(manifest))
        assert found.returncode == 3, found.stderr
        # Three at once, five a minute: the rest stays for another night.
        assert 3 <= len(story.till("keep ")) <= TIERS["bronze"].starts


def test_a_deadline_ends_the_buying_and_not_the_collecting(story: Story) -> None:
    boats = [f"late boat {n}" for n in range(30)]
    manifest = story.manifest(boats, "rate: 5/s", "deadline: 1s")
    found = story.command("run", str(manifest), "--json")
    document = json.loads(found.stdout)
    assert (found.returncode, document["reason"]) == (3, "deadline")
    bought = len(story.till("late "))
    assert 1 <= bought < 30
    assert document["counts"]["done"] == bought
    assert document["counts"]["pending"] == 30 - bought
    assert "deadline: no new clips" in found.stderr
    (session,) = opened(story, manifest)
    assert session.deadline_text == "1s"
    # It came to its own end, so another run is another start.
    again = story.command("run", str(manifest))
    assert again.returncode == 3
    assert len(story.till("late ")) > bought


def test_a_restart_after_a_crash_keeps_the_deadline(story: Story) -> None:
    boats = [f"dawn boat {n}" for n in range(12)]
    manifest = story.manifest(boats, "rate: 2/s", "deadline: 4s")
    running = story.start("run", str(manifest))
    assert running.stdout is not None
    next(line for line in running.stdout if " done " in line)
    running.kill()
    running.communicate()
    first = opened(story, manifest)[0].deadline
    assert story.command("run", str(manifest)).returncode in (3, 6)
    assert [one.deadline for one in opened(story, manifest)] == [first, first]
    bought = len(story.till("dawn "))
    assert 1 <= bought < 12


def test_a_moment_that_is_past_stops_a_new_run_and_only_that(story: Story) -> None:
    past = "deadline: 2020-01-01T00:00:00Z"
    manifest = story.manifest(["past boat 0"], past)
    for command in ("plan", "run"):
        found = story.command(command, str(manifest))
        assert found.returncode == 2
        assert ":2:11: error: this deadline is past" in found.stderr
    story.manifest(["past boat 0"])
    assert story.command("run", str(manifest)).returncode == 0
    story.manifest(["past boat 0", "past boat 1"], past)
    found = story.command("run", str(manifest))
    assert found.returncode == 3, found.stderr
    assert len(story.till("past ")) == 1


def test_the_breaker_opens_after_so_many_failures_in_a_row(tmp_path: Path) -> None:
    with faulty(tmp_path, "{fault: fail_provider, at: [1, 3, 4, 5, 6, 7, 8]}") as story:
        boats = [f"break boat {n}" for n in range(8)]
        one = ("concurrency: 1", "stop_after_failures: 3")
        manifest = story.manifest(boats, *one)
        found = story.command("run", str(manifest), "--json")
        document = json.loads(found.stdout)
        assert (found.returncode, document["reason"]) == (3, "breaker")
        assert "3 clips in a row failed" in found.stderr
        assert len(story.till("break ")) == 5
        story.manifest(boats, "concurrency: 1", "stop_after_failures: 0")
        assert story.command("run", str(manifest)).returncode == 1
        assert len(story.till("break ")) == 5 + 4 + 3


def test_a_clip_the_provider_failed_is_bought_again_if_told(tmp_path: Path) -> None:
    with faulty(tmp_path, "{fault: fail_provider, at: [1, 2]}") as story:
        manifest = story.manifest(
            ["retry boat"], "retry: {attempts: 3, backoff: 0.2s, max_backoff: 0.3s}"
        )
        assert story.command("run", str(manifest)).returncode == 0
        assert len(story.till("retry ")) == 3
    records = Tally.of(journal.read(story.folder(manifest)))
    (state,) = records.states.values()
    assert [str(one.stage) for one in state.attempts] == [
        "failed",
        "failed",
        "completed",
    ]


def test_without_retry_nothing_is_bought_twice(tmp_path: Path) -> None:
    with faulty(tmp_path, "{fault: fail_provider, at: [1]}") as story:
        manifest = story.manifest(["once boat"])
        assert story.command("run", str(manifest)).returncode == 1
        assert len(story.till("once ")) == 1


def test_a_clip_that_takes_too_long_stays_collectable(tmp_path: Path) -> None:
    with sandboxed(tmp_path, speed=80) as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        manifest = story.manifest(["wait boat"], "task_timeout: 0.2s")
        found = story.command("run", str(manifest), "--json")
        document = json.loads(found.stdout)
        assert (found.returncode, document["reason"]) == (3, "still_rendering")
        assert document["counts"]["rendering"] == 1
        story.manifest(["wait boat"])
        assert story.command("run", str(manifest)).returncode == 0
        assert len(story.till("wait ")) == 1


def test_what_is_absent_is_bought_anew_only_if_told(tmp_path: Path) -> None:
    rule = "{fault: drop_before_accept, at: [1]}"
    with faulty(tmp_path, rule) as story:
        # Only a history that shows other clips can prove that one is absent.
        boats = ["doubt boat", "known boat"]
        manifest = story.manifest(boats)
        for _ in range(2):
            assert story.command("run", str(manifest)).returncode == 6
            assert story.till("doubt ") == []
        story.manifest(boats, "uncertain: rebuy-absent")
        found = story.command("run", str(manifest))
        assert found.returncode == 0, found.stderr
        assert len(story.till("doubt ")) == 1


def test_names_are_folded_to_ascii_if_told(story: Story) -> None:
    manifest = story.manifest(
        ["fold boat"], 'output: {name: "{{ town }}/{{ slug }}", ascii: true}',
        "labels: {town: Zürich}",
    )  # fmt: skip
    assert story.command("run", str(manifest)).returncode == 0
    assert {Path(name).parent.as_posix() for name in clips(story, manifest)} == {
        "Zurich"
    }
    story.manifest(
        ["fold boat"], 'output: {name: "{{ town }}/{{ slug }}", sidecar: false}',
        "labels: {town: Zürich}",
    )  # fmt: skip
    assert story.command("run", str(manifest)).returncode == 0
    assert {Path(name).parent.as_posix() for name in clips(story, manifest)} == {
        "Zürich"
    }
    assert len(story.till("fold ")) == 1


def test_the_date_in_a_name_is_for_good(story: Story) -> None:
    keys = ('output: "{{ date }}/{{ slug }}.mp4"', "retry: 1")
    manifest = story.manifest(["dated boat"], *keys)
    assert story.command("run", str(manifest)).returncode == 0
    today = opened(story, manifest)[0].day
    assert [name.split("/")[0] for name in clips(story, manifest)] == [today] * 2
    yesterday = "2026-01-31"
    age(story.folder(manifest), today, yesterday)

    manifest = story.manifest(["dated boat", "another boat"], *keys)
    shown = story.command("plan", str(manifest)).stdout
    assert "+ 1 new" in shown
    assert "renamed" not in shown
    assert story.command("run", str(manifest)).returncode == 0
    today = opened(story, manifest)[1].day
    found = [name.split("/")[0] for name in clips(story, manifest)]
    assert found == [yesterday] * 2 + [today] * 2
    assert story.command("plan", str(manifest)).stdout.count("new") == 0
    assert len(story.till("dated")) == 1


def age(folder: Path, today: str, past: str) -> None:
    """A run as it would be now if it had been bought on an earlier day."""
    (folder / "videos" / today).rename(folder / "videos" / past)
    path = folder / journal.NAME
    lines = path.read_bytes().replace(today.encode(), past.encode()).splitlines()
    fields = [json.loads(line) for line in lines]
    sealed = [seal({key: one[key] for key in one if key != "c"}) for one in fields]
    path.write_bytes(b"".join(sealed))


def test_without_sidecars_there_are_clips_alone(story: Story) -> None:
    manifest = story.manifest(["bare boat"], "output: {sidecar: false}")
    assert story.command("run", str(manifest)).returncode == 0
    assert [Path(name).suffix for name in clips(story, manifest)] == [".mp4"]


def test_a_flagged_clip_is_put_apart_and_comes_back(tmp_path: Path) -> None:
    with faulty(tmp_path, "{fault: nsfw, at: [1]}") as story:
        apart = "output: {flagged: quarantine}"
        boats = ["flag boat 0", "flag boat 1"]
        manifest = story.manifest(boats, "concurrency: 1", apart)
        assert story.command("run", str(manifest)).returncode == 0
        there = clips(story, manifest)
        assert sorted(Path(name).parent.as_posix() for name in there) == [
            ".", ".", "_flagged", "_flagged",
        ]  # fmt: skip
        moves = [
            record.event.moves
            for record in journal.read(story.folder(manifest))
            if isinstance(record.event, OutputsMoved)
        ]
        assert len(moves) == 1
        assert moves[0][0].target.startswith("_flagged/")
        idle = story.command("run", str(manifest), "--json")
        assert json.loads(idle.stdout)["reason"] == "nothing_to_do"
        assert clips(story, manifest) == there
        story.manifest(boats, "concurrency: 1")
        assert story.command("run", str(manifest)).returncode == 0
        assert {Path(name).parent.as_posix() for name in clips(story, manifest)} == {
            "."
        }
        assert len(story.till("flag ")) == 2
