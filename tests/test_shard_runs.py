"""Shards as processes: together they buy everything once, and never beyond the cap."""

import csv
import io
import json
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import anyio
import pytest
from test_elements import CAMPAIGN
from test_elements import folder as with_pictures
from test_hidden import lost_answer

from batchgen.answers import Prediction
from batchgen.audit import orphans, told
from batchgen.cli import call
from batchgen.cli.others import Others
from batchgen.events import AttemptAccepted, AttemptStarted
from batchgen.journal import Journal, read
from batchgen.models import catalog
from batchgen.plan import Policy
from batchgen.shards import Shard, key_of_request
from batchgen.tally import Tally
from batchgen.world import World
from conftest import Story, sandboxed

PRICE = 1_260_000  # three seconds


def folder(story: Story, manifest: Path, shard: str) -> Path:
    number, count = shard.split("/")
    name = f"{manifest.stem}.shard-{number}-of-{count}.sandbox"
    return story.root / "outputs" / name


def caps(story: Story, manifest: Path, count: int) -> list[int | None]:
    """The cap that each shard's last session was opened with."""
    found = []
    for number in range(1, count + 1):
        records = read(folder(story, manifest, f"{number}/{count}"))
        found.append(Tally.of(records).ledger.cap)
    return found


Batch = Callable[..., tuple[int, str]]


@pytest.fixture
def batch(
    story: Story,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Batch:
    """The program in this process, which is quick: its exit code and its text."""

    def run(*words: str) -> tuple[int, str]:
        for name, value in story.env().items():
            monkeypatch.setenv(name, value)
        code = call(words)
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def test_shards_at_once_buy_every_task_once(story: Story, batch: Batch) -> None:
    prompts = [f"fleet boat {n}" for n in range(12)]
    manifest = story.manifest(prompts, "budget: 60", "takes: 2")
    crew = [story.start("run", str(manifest), "--shard", f"{n}/3") for n in (1, 2, 3)]
    ends = [(one.communicate(timeout=60)[0], one.returncode) for one in crew]
    assert [code for _, code in ends] == [0, 0, 0], ends
    charged = sorted(charge.prompt for charge in story.till("fleet "))
    assert charged == sorted([*prompts, *prompts])
    assert sum(cap or 0 for cap in caps(story, manifest, 3)) == 60_000_000
    # Again, in another order: there is nothing left.
    for number in (3, 1, 2):
        assert batch("run", str(manifest), "--shard", f"{number}/3")[0] == 0
    assert len(story.till("fleet ")) == 24


def test_shards_are_told_of_and_reported_on_together(
    story: Story, batch: Batch
) -> None:
    prompts = [f"joint boat {n}" for n in range(9)]
    manifest = story.manifest(prompts, "budget: 40")
    for number in (2, 1):
        assert batch("run", str(manifest), "--shard", f"{number}/3")[0] == 0
        lacks = ("1/3, 3/3", "3/3")[number == 1]
        assert f"not here   {lacks}: not begun" in batch("status", manifest.stem)[1]
    here = [folder(story, manifest, f"{number}/3") for number in (1, 2)]
    bought = len(story.till("joint "))

    code, said = batch("status", manifest.stem)
    assert code == 0
    _head, *runs, total, rest = said.splitlines()
    assert [line.split()[0] for line in runs] == [place.name for place in here]
    assert total.split()[:3] == ["all", "2", str(bought)]
    assert f"${bought * 1.26:.2f} / $26.666667" in total
    assert rest.split(":")[0].split() == ["not", "here", "3/3"]
    # The same by their own names, and watched until nobody works on any.
    names = [place.name for place in here]
    assert batch("status", *names) == (code, said)
    assert batch("status", *names, "--watch")[1] == said
    assert batch("status", names[0])[1].startswith(names[0])
    assert batch("status", *names, "-s", "status=done")[0] == 2

    code, said = batch("status", manifest.stem, "--json")
    document = json.loads(said)
    assert document["total"]["counts"]["done"] == bought
    assert document["total"]["budget_usd"] == 26.666667
    assert document["shards_not_here"] == ["3/3"]
    assert [one["run"] for one in document["runs"]] == names

    assert batch("run", str(manifest), "--shard", "3/3")[0] == 0
    assert "not here" not in batch("status", manifest.stem)[1]
    code, said = batch("report", manifest.stem, "--json")
    files = json.loads(said)["files"]
    text = Path(files["results"]).read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    slugs = [task.slug for task in story.tasks(manifest)]
    assert [row["bg_slug"] for row in rows] == slugs
    names.append(folder(story, manifest, "3/3").name)
    assert {row["bg_run"] for row in rows} == {*names}
    page = Path(files["report"]).read_text(encoding="utf-8")
    assert all(prompt in page for prompt in prompts)
    # Where one does not know its places, they stand one after the other.
    (here[0] / "shard.json").write_text("{}", encoding="utf-8")
    assert batch("report", manifest.stem)[0] == 0
    text = Path(files["results"]).read_text(encoding="utf-8-sig")
    order = [row["bg_run"] for row in csv.DictReader(io.StringIO(text))]
    assert order == sorted(order)


def test_shards_in_turn_never_pass_the_cap_of_the_run(
    story: Story, batch: Batch
) -> None:
    prompts = [f"poor boat {n}" for n in range(12)]
    manifest = story.manifest(prompts, "budget: 8.00")
    for number in (2, 3, 1):
        assert batch("run", str(manifest), "--shard", f"{number}/3")[0] == 3
    assert len(story.till("poor ")) == 6  # two for each part of $2.67
    # An edit that makes one shard much the larger does not make its part larger.
    more = [f"poor raft {n}" for n in range(40)]
    story.manifest([*prompts, *more], "budget: 8.00")
    assert batch("run", str(manifest), "--shard", "2/3")[0] == 3
    assert len(story.till("poor ")) == 6
    # The flag is the cap of the whole run, too.
    for number in (1, 2, 3):
        words = ("--shard", f"{number}/3", "--budget", "11.50")
        assert batch("run", str(manifest), *words)[0] == 3
    assert len(story.till("poor ")) == 9
    assert sum(cap or 0 for cap in caps(story, manifest, 3)) == 11_500_000


def test_a_session_of_a_shard_has_its_part_of_the_session_cap(
    story: Story, batch: Batch
) -> None:
    prompts = [f"hourly boat {n}" for n in range(12)]
    manifest = story.manifest(prompts, "budget: {total: 50, session: 4}")
    opened: list[int | None] = []
    for number in (1, 2):
        assert batch("run", str(manifest), "--shard", f"{number}/3")[0] == 3
        ledger = Tally.of(read(folder(story, manifest, f"{number}/3"))).ledger
        opened.append(ledger.session_cap)
    assert opened == [1_333_334, 1_333_333]
    assert len(story.till("hourly ")) == 2


@pytest.mark.slow
def test_a_killed_shard_goes_on_where_it_was(story: Story, batch: Batch) -> None:
    prompts = [f"mortal boat {n}" for n in range(16)]
    manifest = story.manifest(prompts)
    words = ("run", str(manifest), "--retry", "absent", "--shard")
    state = folder(story, manifest, "1/2") / "state.jsonl"
    victim = story.start(*words, "1/2")
    while b"AttemptAccepted" not in (state.read_bytes() if state.exists() else b""):
        assert victim.poll() is None
        time.sleep(0.005)
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    for shard in ("2/2", "1/2"):
        code, said = batch(*words, shard)
        assert code == 0, said
    assert sorted(one.prompt for one in story.till("mortal ")) == sorted(prompts)


@pytest.mark.parametrize(
    ("first", "second", "advice"),
    [
        ("1/2", "2/3", "with --shard I/2"),
        ("1/2", "", "with --shard I/2"),
        ("", "1/2", "with no --shard"),
    ],
)
def test_another_number_of_shards_buys_nothing(
    story: Story, batch: Batch, first: str, second: str, advice: str
) -> None:
    word = "cut" + f"{first}x{second}".replace("/", "")
    manifest = story.manifest([f"{word} boat {n}" for n in range(4)])
    begun, other = (["--shard", one] if one else [] for one in (first, second))
    assert batch("run", str(manifest), *begun)[0] == 0
    bought = len(story.till(f"{word} "))
    assert bought
    for command in ("run", "plan"):
        code, said = batch(command, str(manifest), *other)
        assert code == 2
        assert "[other-shards]" in said
        assert f"outputs/{manifest.stem}" in said
        assert advice in said
        assert "Nothing was submitted" in said
    assert len(story.till(f"{word} ")) == bought
    left = story.folder(manifest) if not second else folder(story, manifest, second)
    assert not left.exists()
    # Another name is another run, and a model's rehearsal is one, too.
    for words in (("--run", "new"), ("--model", "kling-std")):
        assert batch("plan", str(manifest), *other, *words)[0] == 0


def test_a_state_file_that_nobody_can_read_counts_as_bought(
    story: Story, batch: Batch
) -> None:
    manifest = story.manifest(["torn boat 0"])
    beside = folder(story, manifest, "1/2")
    beside.mkdir(parents=True)
    (beside / "state.jsonl").write_text("[]\n{}\n", encoding="utf-8")
    assert batch("run", str(manifest))[0] == 2
    assert story.till("torn ") == []


def test_of_two_ways_that_begin_at_once_not_both_buy(
    story: Story, batch: Batch
) -> None:
    """The other has bought nothing yet, but it holds its run already."""
    manifest = story.manifest(["hasty boat 0"])
    with Journal.open(folder(story, manifest, "1/2"), World()):
        code, said = batch("run", str(manifest))
        assert code == 2
        assert "[other-shards]" in said
    assert story.till("hasty ") == []
    # It bought nothing and is gone: nothing stands in the way.
    assert batch("run", str(manifest))[0] == 0


def test_every_shard_makes_the_elements_that_it_shows(
    story: Story, batch: Batch
) -> None:
    root = with_pictures(story.root)
    clips = [
        f'  - {{id: c{n}, prompt: "Cast Tumbler {n}", element_list: [Cast]}}'
        for n in range(6)
    ]
    head = CAMPAIGN[: CAMPAIGN.index("prompts:")].replace("Tumbler:", "Cast:")
    text = "\n".join([head, "settings: {duration: 3}", "prompts:", *clips])
    manifest = root / "cast.yaml"
    manifest.write_text(text, encoding="utf-8")
    for number in (1, 2):
        code, said = batch("run", str(manifest), "--shard", f"{number}/2", "-q")
        assert code == 0, said
        ledger = Tally.of(read(folder(story, manifest, f"{number}/2"))).ledger
        assert ledger.spent % PRICE == 10_000
    found = [charge.prompt for charge in story.till("Cast")]
    assert len([prompt for prompt in found if prompt == "Cast"]) == 2
    assert len(found) == 2 + 6


@pytest.mark.slow
def test_shards_of_one_account_do_not_take_each_other_for_losses(
    tmp_path: Path,
) -> None:
    with sandboxed(tmp_path) as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        manifest = story.manifest([f"near boat {n}" for n in range(9)])
        words = ("run", str(manifest), "--shard")
        crew = [story.start(*words, f"{n}/3") for n in (1, 2, 3)]
        said = [one.communicate(timeout=60)[0] for one in crew]
        # The folders of two are on other machines now.
        for shard in ("2/3", "3/3"):
            folder(story, manifest, shard).rename(tmp_path / f"away{shard[0]}")
        again = story.command(*words, "1/3", "--again")
        assert again.returncode == 0
        said.append(again.stderr)
        assert len(story.till()) > 9
        assert [text for text in said if "account's history" in text] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shard", "stands"), [(None, "done"), (Shard(2, 1), "uncertain")]
)
def test_a_shard_takes_nothing_for_its_own_because_it_is_alone(
    tmp_path: Path, shard: Shard | None, stands: str
) -> None:
    with sandboxed(tmp_path) as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        manifest = story.manifest(["hidden boat 0"])
        lost_answer(story, manifest)

        async def look() -> Tally:
            _, tally = await story.session(
                manifest,
                faults="list_hides_inputs",
                policy=Policy(retry=frozenset({"absent"})),
                shard=shard,
            )
            return tally

        # Until nothing more of the time of the first one can turn up, and well beyond.
        end = time.monotonic() + 10
        counts = anyio.run(look).counts
        while not counts["done"] and time.monotonic() < end:
            counts = anyio.run(look).counts
        assert counts[stands] == 1
        assert len(story.till()) == 1


def test_a_rolled_back_shard_misses_its_own_purchases_alone(
    story: Story, batch: Batch
) -> None:
    manifest = story.manifest([f"older boat {n}" for n in range(6)])
    owned = []
    for number in (1, 2):
        assert batch("run", str(manifest), "--shard", f"{number}/2")[0] == 0
        owned.append(Tally.of(read(folder(story, manifest, f"{number}/2"))).owned)
    mine, theirs = owned
    assert mine
    assert theirs
    # The other shard is on another machine: what was asked for has to tell.
    folder(story, manifest, "2/2").rename(story.root / "older")
    state = folder(story, manifest, "1/2") / "state.jsonl"
    state.write_bytes(state.read_bytes().splitlines(keepends=True)[0])
    name = state.parent.name
    code, said = batch("state", name, "accept-rollback", "--yes", "--json")
    assert code == 0, said
    found = {
        text.split()[0] for text in json.JSONDecoder().raw_decode(said)[0]["orphans"]
    }
    assert found & (mine | theirs) == mine


MODEL = "kwaivgi/kling-v3.0-4k/text-to-video"
NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)


def row(name: str, **inputs: object) -> Prediction:
    """A prediction of the account's history; without inputs, they are hidden."""
    fields = {"duration": 3, **inputs} if inputs else None
    moment = "2026-10-01T12:00:00Z"
    return Prediction(
        name, MODEL, "done", "completed", (), (), "", None, False, None, moment, fields
    )


async def bought(place: Path, *predictions: str) -> None:
    with Journal.open(place, World()) as journal:
        for name in predictions:
            task = sha256(name.encode()).hexdigest()[:32]
            journal.append(AttemptStarted(task=task, attempt=1, reserve=PRICE))
            event = AttemptAccepted(task=task, attempt=1, prediction=name)
            await journal.durable(journal.append(event))


@pytest.mark.anyio
async def test_what_is_nobodys_is_told_from_what_may_be_another_shards(
    tmp_path: Path,
) -> None:
    home = tmp_path / "night.shard-1-of-2"
    others = Others(home, Shard(2, 1), catalog())
    prompts = [f"boat {n}" for n in range(8)]
    keys = {
        prompt: key_of_request(MODEL, {"prompt": prompt, "duration": 3}, catalog())
        for prompt in prompts
    }
    ours = next(prompt for prompt in prompts if Shard(2, 1).holds(keys[prompt]))
    theirs = next(prompt for prompt in prompts if Shard(2, 2).holds(keys[prompt]))
    history = [
        row("known", prompt=ours),
        row("lost", prompt=ours),
        row("another", prompt=theirs),
        row("hidden"),
        row("shown", prompt=ours, image="https://cdn.example/a.png"),
    ]
    tally = Tally()
    tally.owned.add("known")

    def found() -> dict[str, bool]:
        span = (NOON, NOON)
        rows = orphans(history, tally, [span], 0.0, others.now())
        return {one.prediction: one.sure for one in rows}

    # On its own machine it can tell by what was asked for, where that shows.
    assert found() == {"lost": True, "hidden": False, "shown": False}
    text = told(list(orphans(history, tally, [(NOON, NOON)], 0.0, others.now())))
    assert "has 1 predictions from the time of this run that it does not know" in text
    assert "2 predictions from the time of this shard" in text
    # Beside the other one it can tell the rest by that one's state file.
    await bought(tmp_path / "night.shard-2-of-2", "shown")
    assert found() == {"lost": True, "hidden": True}
    # The state file of another cut is no sibling's.
    await bought(tmp_path / "night.shard-3-of-4", "hidden")
    assert found() == {"lost": True, "hidden": True}
