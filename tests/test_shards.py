"""One run on several machines: every task once, every dollar once."""

import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from test_elements import CAMPAIGN, folder

from batchgen.cli import batchgen, call
from batchgen.cli.order import Flags, Order, cap_of, place, session_cap_of
from batchgen.cli.settings import read
from batchgen.disk import Disk
from batchgen.errors import StoreError, UsageError
from batchgen.models import catalog
from batchgen.places import check_lasting, mount_kind
from batchgen.plan import Policy
from batchgen.profile import Limits
from batchgen.shards import MOST, Shard, key_of, number_of, told
from batchgen.tally import Tally

counts = st.integers(1, 40)
prompts = st.lists(
    st.text("abcdefgh ", min_size=3, max_size=12).map(str.strip).filter(bool),
    min_size=1,
    max_size=12,
    unique=True,
)


def write(folder: Path, rows: Sequence[str], *more: str) -> Path:
    path = folder / "shards.yaml"
    keys = ["name: shards", "settings: {duration: 3}", *more, "prompts:"]
    lines = [f"  - {json.dumps(row)}" for row in rows]
    path.write_text("\n".join([*keys, *lines]) + "\n", encoding="utf-8")
    return path


def ordered(path: Path, shard: str = "", **flags: object) -> Order:
    one = Shard.parse(shard) if shard else None
    order = place(path, read({}), Flags(shard=one, **flags))  # type: ignore[arg-type] # by name
    order.survey(Tally(), Policy())
    return order


def shards_of(path: Path, count: int) -> dict[str, int]:
    """Every task of a manifest -> the shard that orders it; none has two."""
    found: dict[str, int] = {}
    for number in range(1, count + 1):
        for task in ordered(path, f"{number}/{count}").tasks():
            assert task.id not in found
            found[task.id] = number
    assert found.keys() == {task.id for task in ordered(path).tasks()}
    return found


@settings(max_examples=25)
@given(rows=prompts, more=prompts, count=st.integers(1, 5), chance=st.randoms())
def test_each_task_has_one_shard_which_no_edit_changes(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[str],
    more: list[str],
    count: int,
    chance: random.Random,
) -> None:
    folder = tmp_path_factory.mktemp("edit")
    before = shards_of(write(folder, rows), count)
    edited = list(dict.fromkeys([*rows, *more]))
    chance.shuffle(edited)
    after = shards_of(write(folder, edited, "takes: 2"), count)
    assert {task: after[task] for task in before} == before


@settings(max_examples=25)
@given(rows=prompts, count=counts)
def test_equal_requests_are_in_one_shard(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str], count: int
) -> None:
    path = write(tmp_path_factory.mktemp("takes"), rows, "takes: 3")
    places: dict[str, set[int]] = {}
    for task in ordered(path).tasks():
        request = json.dumps([task.model, task.input], sort_keys=True)
        number = number_of(key_of(task, catalog()), count)
        places.setdefault(request, set()).add(number)
    assert len(places) == len(rows)
    assert all(len(numbers) == 1 for numbers in places.values())


@given(amount=st.integers(0, 10**12), count=counts)
def test_the_parts_are_the_whole_and_differ_by_a_millionth(
    amount: int, count: int
) -> None:
    parts = [Shard(count, number).part(amount) for number in range(1, count + 1)]
    assert sum(parts) == amount
    assert max(parts) - min(parts) <= 1


@given(
    concurrency=st.integers(1, 5000),
    starts=st.none() | st.integers(1, 5000),
    count=counts,
)
def test_together_the_shards_start_no_more_than_the_account_may(
    concurrency: int, starts: int | None, count: int
) -> None:
    whole = Limits(concurrency, starts)
    paces = [Shard(count, number).pace(whole) for number in range(1, count + 1)]
    at_once = sum(pace.concurrency for pace in paces)
    assert at_once == max(concurrency, count)  # one each is the least
    a_minute = [pace.starts * 60 / pace.seconds for pace in paces if pace.starts]
    assert sum(a_minute) == pytest.approx(starts or 0)


def test_shards_are_of_about_one_size() -> None:
    chance = random.Random(7)  # noqa: S311 - a sample is no secret
    keys = [f"{chance.getrandbits(128):032x}" for _ in range(8000)]
    for count in (2, 7, 8):
        sizes = [
            sum(Shard(count, number).holds(key) for key in keys)
            for number in range(1, count + 1)
        ]
        assert sum(sizes) == 8000
        assert max(sizes) < 1.1 * 8000 / count


def test_the_shard_of_a_task_is_for_ever(tmp_path: Path) -> None:
    """Another hash would buy again what shards bought before."""
    path = write(tmp_path, ["a red boat", "a blue boat", "a green boat"])
    found = {task.input["prompt"]: task.id for task in ordered(path).tasks()}
    eight, three = shards_of(path, 8), shards_of(path, 3)
    assert [(word, eight[found[word]], three[found[word]]) for word in found] == [
        ("a red boat", 5, 3),
        ("a blue boat", 2, 1),
        ("a green boat", 7, 1),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0/8", "counted from 1, so the first is 1/8"),
        ("0/8", 'write --shard "$((INDEX + 1))/8"'),
        ("9/8", "there is no shard 9 of 8"),
        ("1/0", f"1 to {MOST:,} shards"),
        ("1/10001", f"1 to {MOST:,} shards"),
        ("3", "not a shard, like 3/8"),
        ("-1/8", "not a shard"),
        ("1/8/2", "not a shard"),
        ("\N{ARABIC-INDIC DIGIT THREE}/8", "not a shard"),
        ("", "not a shard"),
    ],
)
def test_a_slip_in_the_shard_explains_itself(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        Shard.parse(text)


def test_a_slip_is_a_mistake_in_the_command(tmp_path: Path) -> None:
    path = write(tmp_path, ["a boat"])
    for command in ("run", "plan"):
        result = CliRunner().invoke(batchgen, [command, str(path), "--shard", "0/8"])
        assert result.exit_code == 2
        assert "counted from 1" in result.output


def test_a_shard_has_a_folder_of_its_own_and_nobody_else_works_there(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, ["a boat"])
    live = ordered(path, "3/8")
    assert live.folder.name == "shards.shard-3-of-8"
    assert told(live.folder.name) == ("shards", Shard(8, 3))
    rehearsal = ordered(path, "3/8", sandbox=True, model="kling-std")
    assert rehearsal.folder.name == "shards.kling-std.shard-3-of-8.sandbox"
    assert told(rehearsal.folder.name) == ("shards.kling-std.sandbox", Shard(8, 3))
    assert told("shards.shard-9-of-8") is None
    for shard in ("", "3/8"):
        with pytest.raises(UsageError) as refused:
            ordered(path, shard, run="shards.shard-3-of-8")
        assert "--run shards --shard 3/8" in refused.value.advice


def test_a_limit_and_a_selection_mean_the_whole_run(tmp_path: Path) -> None:
    path = write(tmp_path, [f"boat {n}" for n in range(20)])
    orders = [ordered(path, f"{n}/3", limit=5) for n in (1, 2, 3)]
    chosen = [place for order in orders for place in order.places]
    assert sorted(chosen) == [0, 1, 2, 3, 4]
    # The same line starts every shard, so none of them may call it a mistake.
    slug = next(task.slug for task in ordered(path).tasks())
    one = [ordered(path, f"{n}/3", select=[slug]) for n in (1, 2, 3)]
    assert sorted(order.plan.to_buy for order in one) == [0, 0, 1]
    assert len({order.plan_id for order in one}) == 1
    with pytest.raises(UsageError):
        ordered(path, "1/3", select=["nothing-like-it"])


def test_flags_manifest_and_machine_mean_the_whole_run(tmp_path: Path) -> None:
    path = write(tmp_path, ["a boat"], "budget: {total: 50, session: 10}")
    manifest = ordered(path, "1/3").manifest
    three = [Shard(3, number) for number in (1, 2, 3)]
    ceiling, flag = 7_000_000, 20_000_000
    assert sum(cap_of(manifest, None, None, one) or 0 for one in three) == 50_000_000
    assert sum(cap_of(manifest, flag, None, one) or 0 for one in three) == flag
    assert sum(session_cap_of(manifest, ceiling, one) or 0 for one in three) == ceiling
    plain = ordered(write(tmp_path, ["a boat"], "budget: 50"), "1/3").manifest
    assert sum(cap_of(plain, None, ceiling, one) or 0 for one in three) == ceiling
    assert cap_of(plain, None, None) == 50_000_000


def test_what_several_shards_show_is_made_and_paid_by_each(tmp_path: Path) -> None:
    clips = [
        f"  - {{id: c{n}, prompt: Tumbler {n}, element_list: [Tumbler]}}"
        for n in range(6)
    ]
    head = CAMPAIGN[: CAMPAIGN.index("prompts:")]
    path = folder(tmp_path) / "m.yaml"
    path.write_text("\n".join([head, "prompts:", *clips]), encoding="utf-8")
    whole = ordered(path)
    (element,) = whole.elements
    orders = [ordered(path, f"{n}/2") for n in (1, 2)]
    assert [order.plan.total for order in orders] == [4, 2]
    assert [list(order.elements) for order in orders] == [[element], [element]]
    assert [order.plan.cost for order in orders] == orders[0].loads
    assert sum(orders[0].loads) == whole.plan.cost + whole.plan.made[1]
    # Where no clip shows it, it is not made.
    empty = [ordered(path, f"{n}/97") for n in range(1, 98)]
    assert all(bool(order.elements) == bool(order.plan.total) for order in empty)


def test_the_plan_says_what_its_part_does_not_cover(tmp_path: Path) -> None:
    path = write(tmp_path, [f"boat {n}" for n in range(10)], "budget: 13")
    said = [
        CliRunner().invoke(batchgen, ["plan", str(path), "--shard", f"{n}/3"]).output
        for n in (1, 2, 3)
    ]
    orders = [ordered(path, f"{n}/3") for n in (1, 2, 3)]
    counts = [order.plan.total for order in orders]
    assert counts == [4, 3, 3]
    assert "shard 1/3 needs $5.04, and its part of the cap $13.00 is" in said[0]
    assert "its part of the cap $13.00 is $4.333333, and others need more" in said[1]
    for text in said:
        flat = " ".join(text.split())
        assert "A cap of 20 covers every shard (the dearest needs $5.04)." in flat
    assert Shard(3, 2).part(20_000_000) >= 5_040_000


def test_a_plan_is_made_without_what_speaks_to_the_network() -> None:
    """It would take longer to start than to make the plan."""
    program = "import sys, batchgen.cli.plan; print('httpx' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout == "False\n"


class Mounted(Disk):
    """A disk whose tables of mounts say this."""

    def __init__(self, kind: str, origin: str = "/") -> None:
        self._kind, self._origin = kind, origin

    def mounts(self) -> str:
        return f"x / ext4 rw 0 0\nx /data {self._kind} rw 0 0\n"

    def origins(self) -> str:
        return (
            "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
            f"23 22 8:1 {self._origin} /data rw - {self._kind} /dev/sda1 rw\n"
        )


OF_A_POD = "/var/lib/kubelet/pods/7d0/volumes/kubernetes.io~empty-dir/data"
CLAIMED = "/var/lib/kubelet/pods/7d0/volumes/kubernetes.io~local-volume/pv-1"


@pytest.mark.parametrize(
    "disk",
    [Mounted(kind) for kind in ("overlay", "fuse.fuse-overlayfs", "tmpfs", "ramfs")]
    + [Mounted("ext4", OF_A_POD)],
)
def test_a_disk_that_goes_with_its_container_is_refused(disk: Disk) -> None:
    with pytest.raises(StoreError) as refused:
        check_lasting(Path("/data/outputs/x.shard-1-of-2"), disk)
    assert refused.value.rule == "passing-disk"
    assert "Nothing was submitted" in refused.value.advice
    check_lasting(Path("/home/outputs/x.shard-1-of-2"), disk)


def test_a_volume_that_stays_is_taken() -> None:
    for disk in (Mounted("ceph"), Mounted("lustre"), Mounted("ext4", CLAIMED), Disk()):
        check_lasting(Path("/data/outputs"), disk)


MEMORY = Path("/dev/shm")  # noqa: S108 - a file system that ends with the machine


@pytest.mark.skipif(
    mount_kind(Disk().mounts(), MEMORY) != "tmpfs", reason="no such file system here"
)
def test_a_shard_spends_nothing_where_its_memory_would_be_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, ["a boat"], "budget: 50")
    monkeypatch.setenv("BATCHGEN_OUTPUTS", str(MEMORY / "no-outputs"))
    monkeypatch.setenv("WAVESPEED_BASE_URL", "https://api.invalid")
    monkeypatch.setenv("WAVESPEED_API_KEY", "k")
    codes = [call(["run", str(path), "--yes", "--shard", f"{n}/2"]) for n in (1, 2)]
    assert sorted(codes) == [0, 8]  # one of them has nothing to buy
    assert not list(MEMORY.glob("no-outputs/*/state.jsonl"))
    shutil.rmtree(MEMORY / "no-outputs")
