"""How many submissions may be in doubt at once, and what waits for what."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from batchgen.events import AttemptAccepted, AttemptStarted, AttemptUncertain
from batchgen.journal import read
from batchgen.slots import Groups, Slots
from batchgen.state import word
from conftest import Story, sandboxed

pytestmark = pytest.mark.anyio

SLOW = "{fault: slow_answer=0.05, probability: 1}"


@contextmanager
def world(folder: Path, *rules: str, delay: str = "60") -> Iterator[Story]:
    """A sandbox of its own, with these faults and this delay of the history."""
    plan = folder / "faults.yaml"
    plan.write_text(f"seed: 1\nrules: [{', '.join(rules)}]\n", encoding="utf-8")
    more = ("--faults", str(plan), "--list-delay", delay)
    with sandboxed(folder, *more) as addresses:
        yield Story(folder, addresses.api, folder / "sandbox")


def open_at_once(story: Story, manifest: Path) -> list[int]:
    """How many submissions were under way whenever one more began."""
    under_way: set[str] = set()
    counts = []
    for record in read(story.folder(manifest)):
        match record.event:
            case AttemptStarted(task=task):
                under_way.add(task)
                counts.append(len(under_way))
            case AttemptAccepted(task=task) | AttemptUncertain(task=task):
                under_way.discard(task)
            case _:
                pass
    return counts


async def test_slots_open_once_the_history_shows_what_was_asked_for(
    tmp_path: Path,
) -> None:
    with world(tmp_path, SLOW) as story:
        manifest = story.manifest([f"open boat {n}" for n in range(40)])
        await story.session(manifest)
        counts = open_at_once(story, manifest)
        assert counts[0] == 1
        assert counts[1] == 1
        assert max(counts) > 4
        assert story.notices == []


@pytest.mark.parametrize("fault", ["list_hides_inputs", "list_404"])
async def test_a_history_without_inputs_leaves_one_slot_a_model(
    tmp_path: Path, fault: str
) -> None:
    rule = f"{{fault: {fault}, probability: 1}}"
    with world(tmp_path, SLOW, rule) as story:
        manifest = story.manifest([f"hidden boat {n}" for n in range(12)])
        await story.session(manifest)
        assert set(open_at_once(story, manifest)) == {1}
        assert any("about 60 starts a minute" in text for text in story.notices)
        assert len(story.till("hidden ")) == 12


async def test_until_the_history_has_caught_up_there_is_one_slot(
    tmp_path: Path,
) -> None:
    with world(tmp_path, SLOW, delay="99999999") as story:
        manifest = story.manifest([f"late boat {n}" for n in range(6)])
        await story.session(manifest)
        assert set(open_at_once(story, manifest)) == {1}


async def most_at_once(slots: Slots, *models: str) -> dict[str, int]:
    """The most holders at once of each model, and of all together."""
    now: dict[str, int] = {}
    most: dict[str, int] = {}

    async def hold(model: str) -> None:
        async with slots.hold(model):
            for name in (model, "all"):
                now[name] = now.get(name, 0) + 1
                most[name] = max(most.get(name, 0), now[name])
            await anyio.sleep(0.005)
            for name in (model, "all"):
                now[name] -= 1

    async with anyio.create_task_group() as group:
        for model in models:
            group.start_soon(hold, model)
    return most


async def test_one_of_each_model_also_for_those_who_waited_before() -> None:
    slots = Slots()
    assert await most_at_once(slots, "a", "a", "b") == {"a": 1, "b": 1, "all": 1}
    async with anyio.create_task_group() as group:

        async def later() -> None:
            await anyio.sleep(0.002)
            slots.open(8, one_each=True)

        group.start_soon(later)
        assert await most_at_once(slots, *"aaabbb") == {"a": 1, "b": 1, "all": 2}
    slots.open(3)
    assert await most_at_once(slots, *"aaaabbbb") == {"a": 3, "b": 3, "all": 3}


async def test_a_group_with_a_request_under_way_is_not_settled() -> None:
    groups = Groups()
    async with groups.sending("cat"):
        with groups.settling(["cat", "dog"]) as quiet:
            assert quiet == {"dog"}
    with groups.settling(["cat", "dog"]) as quiet:
        assert quiet == {"cat", "dog"}


async def test_submissions_of_a_group_wait_while_it_is_settled() -> None:
    groups = Groups()
    sent: list[str] = []

    async def send(group: str) -> None:
        async with groups.sending(group):
            sent.append(group)

    async with anyio.create_task_group() as both:
        with groups.settling(["cat"]):
            both.start_soon(send, "cat")
            both.start_soon(send, "dog")
            await anyio.wait_all_tasks_blocked()
            assert sent == ["dog"]
    assert sent == ["dog", "cat"]


async def test_a_lost_clip_is_found_while_others_are_bought(tmp_path: Path) -> None:
    """The history shows inputs for an hour: a doubt does not wait for the morning."""
    lost = "{fault: drop_after_accept, at: [2]}"
    with world(tmp_path, lost, "{fault: stuck, at: [9]}") as story:
        manifest = story.manifest([f"found boat {n}" for n in range(9)])
        with anyio.move_on_after(3):
            await story.session(manifest)
        events = [record.event for record in read(story.folder(manifest))]
        found = [
            event
            for event in events
            if isinstance(event, AttemptAccepted) and event.via == "history"
        ]
        assert len(found) == 1
        _, tally = story.replay(manifest)
        assert word(tally.states[found[0].task]) == "done"
        assert len(story.till("found ")) == 9
