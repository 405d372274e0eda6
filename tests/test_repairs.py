"""What a person may do to a state file: looked at, asked for, never by accident."""

import json
from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from batchgen.cli import batchgen, exits
from batchgen.disk import Disk
from batchgen.errors import BatchgenError, JournalDamaged, JournalError, StoreError
from batchgen.events import (
    AttemptAccepted,
    AttemptStarted,
    Event,
    Imported,
    Resealed,
    SessionOpened,
    TaskPlanned,
)
from batchgen.journal import NAME, Journal, read
from batchgen.places import check, mount_kind
from batchgen.repairs import Repair, judge
from batchgen.rescue import Rescue, found, waiting
from batchgen.tally import Tally
from batchgen.world import World

TASK = "a" * 32
OPENED = SessionOpened(
    tool="t",
    pid=1,
    host="h",
    cap=9,
    concurrency=1,
    manifest="m",
    endpoint="https://old.example",
)
PLANNED = TaskPlanned(
    task=TASK,
    slug="cat",
    labels={},
    model="acme/video",
    input={"prompt": "a cat"},
    take=1,
    price=420_000,
    seconds=5,
    output="cat.mp4",
)
STARTED = AttemptStarted(task=TASK, attempt=1, reserve=420_000)
ACCEPTED = AttemptAccepted(task=TASK, attempt=1, prediction="p-1")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BATCHGEN_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    return tmp_path / "outputs" / "spring"


@pytest.fixture
def run(folder: Path) -> Path:
    written(folder, OPENED, PLANNED, STARTED)
    return folder


def written(folder: Path, *events: Event) -> None:
    with Journal.open(folder, World()) as journal:
        for event in events:
            anyio.run(journal.durable, journal.append(event))


def command(*arguments: str, pasted: str | None = None) -> Result:
    return CliRunner().invoke(batchgen, ["state", "spring", *arguments], input=pasted)


def refusal(*arguments: str, pasted: str | None = None) -> tuple[int, str]:
    """Exit code and rule of a command that does not do it."""
    error = command(*arguments, pasted=pasted).exception
    assert isinstance(error, BatchgenError)
    return exits.code_of(error)[0], error.rule


def edit(folder: Path) -> bytes:
    path = folder / NAME
    before = path.read_bytes()
    path.write_bytes(before.replace(b'"reserve":"420000"', b'"reserve":"10"'))
    return before


def test_an_edited_file_is_taken_only_when_a_person_says_so(run: Path) -> None:
    edit(run)
    bytes_ = (run / NAME).read_bytes()
    assert refusal("reseal") == (2, "no-terminal")
    assert (run / NAME).read_bytes() == bytes_
    shown = command("reseal", "--yes")
    assert "line 3, record 3" in shown.stderr
    assert '"reserve":"10"' in shown.stderr
    with Journal.open(run, World()) as journal:
        last = journal.records[-1].event
        assert isinstance(last, Resealed)
        assert (last.what, last.lines) == ("edited", (3,))
        assert Tally.of(journal.records).ledger.committed == 10
        assert Tally.of(journal.records).unaudited
    (kept,) = run.glob("edited-*")
    assert kept.read_bytes() == bytes_
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_line_without_its_checksum_can_be_resealed(run: Path) -> None:
    path = run / NAME
    lines = path.read_bytes().split(b"\n")
    lines[2] = lines[2][:-16] + b"}"
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(JournalDamaged):
        Journal.open(run, World())
    assert command("reseal", "--yes").exit_code == 0
    Journal.open(run, World()).close()


def test_a_lost_line_cannot_be_resealed(run: Path) -> None:
    path = run / NAME
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], lines[2], b""]))
    before = path.read_bytes()
    assert refusal("reseal", "--yes") == (7, "damaged")
    assert path.read_bytes() == before


def test_resealing_does_not_hide_an_older_copy(run: Path) -> None:
    older = (run / NAME).read_bytes()
    written(run, ACCEPTED)
    (run / NAME).write_bytes(older.replace(b'"reserve":"420000"', b'"reserve":"10"'))
    assert command("reseal", "--yes").exit_code == 0
    with pytest.raises(JournalDamaged) as caught:
        Journal.open(run, World())
    assert caught.value.rule == "rolled-back"


def test_an_older_copy_is_gone_on_with_only_after_the_audit(run: Path) -> None:
    older = (run / NAME).read_bytes()
    written(run, ACCEPTED)
    (run / NAME).write_bytes(older)
    assert refusal("accept-rollback", "--yes") == (2, "no-audit")
    assert refusal("accept-rollback", "--offline") == (2, "no-terminal")
    assert (run / NAME).read_bytes() == older
    told = command("accept-rollback", "--offline", "--yes", "--json")
    assert json.loads(told.stdout)["lost"] == 1
    with Journal.open(run, World()) as journal:
        assert journal.records[-1].event == Resealed(
            what="rollback", by=_by(journal), lost=1
        )
        assert Tally.of(journal.records).unaudited


def _by(journal: Journal) -> str:
    event = journal.records[-1].event
    assert isinstance(event, Resealed)
    return event.by


def test_another_endpoint_is_accepted_by_a_person(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAVESPEED_BASE_URL", "https://new.example")
    assert refusal("accept-endpoint") == (2, "no-terminal")
    shown = command("accept-endpoint", "--yes")
    assert "https://old.example" in shown.stderr
    assert Tally.of(read(run)).endpoint == "https://new.example"
    assert "already" in command("accept-endpoint", "--yes").stdout


def test_import_wants_a_file_and_the_others_none() -> None:
    assert refusal("import") == (2, "usage")
    assert refusal("reseal", "x") == (2, "usage")


def saved(run: Path, *events: AttemptAccepted) -> list[str]:
    lines: list[str] = []
    rescue = Rescue(run, World(alarm=lines.append))
    for event in events:
        rescue.save(event)
        rescue.save(event)
    return lines


def test_a_pasted_line_brings_a_paid_id_back(run: Path) -> None:
    (line,) = saved(run, ACCEPTED)
    broken = f"$ tail log\n12:00 {line[:70]}\n{line[70:]} and more\n"
    assert refusal("import", "-", pasted=broken) == (2, "no-terminal")
    assert command("import", "-", "--yes", pasted=broken).exit_code == 0
    assert [record.event for record in read(run)][3] == ACCEPTED
    again = command("import", "-", "--yes", "--json", pasted=broken)
    assert json.loads(again.stdout)["known"] == 1
    assert len(read(run)) == 5


@pytest.mark.parametrize("where", ["beside", "runtime"])
def test_a_rescue_file_can_be_imported(run: Path, where: str) -> None:
    saved(run, ACCEPTED)
    here, there = waiting(run, World())
    file = here if where == "beside" else there
    assert file.stat().st_mode & 0o777 == 0o600
    assert command("import", str(file), "--yes").exit_code == 0
    imported = read(run)[-1].event
    assert isinstance(imported, Imported)
    assert (imported.source, imported.accepted) == (file.name, 1)


def test_a_mangled_line_is_not_imported(run: Path) -> None:
    (line,) = saved(run, ACCEPTED)
    for bad in (line.replace("p-1", "p-2"), line[:-4], "hello"):
        assert list(found(bad)) == []
        assert refusal("import", "-", "--yes", pasted=bad)[0] == 2
    assert len(read(run)) == 3


def test_a_line_of_another_run_is_not_imported(run: Path) -> None:
    (line,) = saved(run.with_name("autumn"), ACCEPTED)
    assert refusal("import", "-", "--yes", pasted=line) == (2, "nothing-to-import")


def test_an_id_that_does_not_fit_is_told_and_not_taken(run: Path) -> None:
    written(run, ACCEPTED)
    other = replace(ACCEPTED, prediction="p-2")
    later = replace(ACCEPTED, attempt=2)
    lines = saved(run, other, later)
    told = command("import", "-", "--yes", "--json", pasted="\n".join(lines))
    assert told.exit_code == 0  # click's own; ours is what it returns
    document = json.loads(told.stdout)
    assert (document["exit"], document["imported"]) == (6, 0)
    assert len(document["problems"]) == 2
    assert len(read(run)) == 4


def test_one_prediction_has_one_owner(run: Path) -> None:
    second = "b" * 32
    written(
        run,
        ACCEPTED,
        replace(PLANNED, task=second),
        replace(STARTED, task=second),
    )
    stolen = replace(ACCEPTED, task=second)
    verdict = judge(Tally.of(read(run)), [stolen])
    assert verdict.new == ()
    assert "belongs to another" in verdict.problems[0]


# Where state may live


def test_the_mount_of_a_path_is_the_innermost_and_the_last() -> None:
    table = (
        "/dev/a / ext4 rw 0 0\nhost:/x /data nfs4 rw 0 0\n"
        "/dev/b /data/in\\040here xfs rw 0 0\ntmpfs /twice tmpfs rw 0 0\n"
        "//srv/x /twice cifs rw 0 0\n"
    )
    assert mount_kind(table, Path("/home/ann")) == "ext4"
    assert mount_kind(table, Path("/data/run")) == "nfs4"
    assert mount_kind(table, Path("/data/in here/run")) == "xfs"
    assert mount_kind(table, Path("/twice")) == "cifs"
    assert mount_kind("", Path("/")) == ""


class Odd(Disk):
    def __init__(self, kind: str = "ext4", *, locks: bool = True) -> None:
        self._kind = kind
        self._locks = locks

    def mounts(self) -> str:
        return f"x / {self._kind} rw 0 0\n"

    def lock(self, handle: int) -> None:
        if self._locks:
            super().lock(handle)


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "smbfs"])
def test_state_on_a_network_mount_is_refused(folder: Path, kind: str) -> None:
    with pytest.raises(StoreError) as caught:
        Journal.open(folder, World(disk=Odd(kind)))
    assert caught.value.rule == "network-mount"
    assert "Nothing was submitted" in caught.value.advice


@pytest.mark.parametrize("kind", ["ext4", "9p", "fuse.drvfs", "overlay", "virtiofs"])
def test_other_mounts_are_tried(folder: Path, kind: str) -> None:
    Journal.open(folder, World(disk=Odd(kind))).close()


def test_locks_that_do_not_hold_are_noticed(folder: Path) -> None:
    with pytest.raises(StoreError) as caught:
        Journal.open(folder, World(disk=Odd(locks=False)))
    assert caught.value.rule == "no-locks"


def test_a_folder_that_is_a_link_or_open_to_all_is_refused(folder: Path) -> None:
    folder.mkdir(parents=True)
    for one in (folder, folder.parent):
        one.chmod(0o777)
        with pytest.raises(StoreError) as caught:
            check(folder, Disk())
        assert caught.value.rule == "open-folder"
        one.chmod(0o755)
    link = folder.with_name("link")
    link.symlink_to(folder, target_is_directory=True)
    with pytest.raises(StoreError) as caught:
        Journal.open(link, World())
    assert caught.value.rule == "not-a-folder"


def test_a_foreign_folder_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir(parents=True)
    monkeypatch.setattr("os.geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(StoreError) as caught:
        check(folder, Disk())
    assert caught.value.rule == "foreign-folder"


def test_a_repair_needs_the_lock(run: Path) -> None:
    with Journal.open(run, World()), pytest.raises(JournalError) as caught:
        Repair(run, World())
    assert caught.value.rule == "locked"
