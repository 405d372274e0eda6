"""`batchgen state`: the rare repairs of a state file, each shown and asked first."""

import getpass
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import click

from batchgen.audit import Foreign, Orphan, audit_whole, nobodys
from batchgen.cli import settings
from batchgen.cli.exits import answer
from batchgen.cli.order import known_models
from batchgen.cli.others import Others
from batchgen.cli.session import (
    Account,
    check_endpoint,
    connected,
    first_contact,
)
from batchgen.cli.settings import Settings
from batchgen.cli.status import folder_of
from batchgen.errors import ApiError, UsageError
from batchgen.events import Event
from batchgen.journal import Journal
from batchgen.money import dollars
from batchgen.profile import profile_of
from batchgen.recorder import Recorder
from batchgen.records import Record
from batchgen.repairs import Import, Repair, judge, rescued, write_import
from batchgen.replay import Edited
from batchgen.shards import told
from batchgen.tally import Tally
from batchgen.terminal import safe
from batchgen.world import World

ACTIONS = ("reseal", "accept-rollback", "accept-endpoint", "import")

Audit = Callable[[Tally, Sequence[Record]], Sequence[str]]
"""Looks in the account's history for purchases that a journal does not know; a
sentence for each. It raises an ApiError if the history cannot be read."""


def state(
    *,
    run_name: str,
    action: str,
    source: str | None,
    yes: bool,
    offline: bool,
    as_json: bool,
) -> int:
    """Repair the state file of a run; the exit code."""
    if (action == "import") is not (source is not None):
        raise UsageError(
            "import takes a FILE, or - for pasted lines"
            if action == "import"
            else f"{action} takes nothing more than the run",
        )
    found = settings.read()
    folder = folder_of(found.outputs, run_name)
    desk = _Desk(folder, World(), yes=yes, as_json=as_json)
    match action:
        case "reseal":
            return desk.reseal()
        case "accept-rollback":
            return desk.accept_rollback(_auditor(found, folder), offline=offline)
        case "accept-endpoint":
            return desk.accept_endpoint()
        case _:
            return desk.import_(source or "-")


@dataclass(frozen=True, slots=True)
class _Desk:
    """One repair: look, show, ask, do, tell."""

    folder: Path
    world: World
    yes: bool
    as_json: bool

    def reseal(self) -> int:
        with Repair(self.folder, self.world) as repair:
            edits = repair.edits()
            if not edits:
                return self._end("reseal", "every line is as it was written", lines=[])
            for edit in edits:
                _show(edit)
            _say(
                "What these lines said before is not kept anywhere: take them only if "
                "the changes are yours. The next run looks in the account's history "
                "for clips that this file does not know."
            )
            self._ask(f"Take {_lines(len(edits))} as they read now?")
            repair.reseal(self._who())
        rows = [{"line": edit.number, "record": edit.n} for edit in edits]
        return self._end("reseal", f"{_lines(len(edits))} resealed", lines=rows)

    def accept_rollback(self, audit: Audit | None, *, offline: bool) -> int:
        """Also for a file that was taken before without a look at the account."""
        with Repair(self.folder, self.world) as repair:
            lost, tally = repair.lost(), repair.tally()
            if not (lost or tally.unaudited):
                return self._end("accept-rollback", "no record is missing", lost=0)
            _say(
                f"{lost} records were once written and are not in this copy. Each may "
                "be a clip that was paid for; a run on this copy may buy it again."
                if lost
                else "This state file was taken as it is, and it may lack purchases."
            )
            orphans = self._audit(audit, tally, repair.records(), offline=offline)
            for orphan in orphans:
                _say(f"  {orphan}")
            self._ask("Go on with this copy?")
            # Who says so a second time has looked at the account without us.
            audited = not (offline and lost)
            repair.accept_rollback(self._who(), audited=audited)
        text = f"going on without {lost} records" if lost else "going on"
        return self._end("accept-rollback", text, lost=lost, orphans=list(orphans))

    def _audit(
        self,
        audit: Audit | None,
        tally: Tally,
        records: Sequence[Record],
        *,
        offline: bool,
    ) -> Sequence[str]:
        if offline:
            _say("The account's history was not looked at (--offline).")
            return ()
        if audit is None or (tally.endpoint == "sandbox" and not _on_loopback()):
            raise UsageError(
                "the account's history was not looked at",
                rule="no-audit",
                advice="Nothing was changed. Set WAVESPEED_API_KEY to have it looked "
                "at. Or look at the account yourself for clips that `batchgen status` "
                "does not show, then add --offline.",
            )
        return audit(tally, records)

    def accept_endpoint(self) -> int:
        found = settings.read()
        account = Account(found.base_url, "", profile_of(found.base_url))
        after = account.endpoint
        with Repair(self.folder, self.world) as repair:
            before = repair.tally().endpoint
            if before in ("", after):
                text = f"the run is at {after} already"
                return self._end("accept-endpoint", text, endpoint=after)
            _say(
                f"before: {before}\nnow:    {after}\n"
                "The key goes to the new address, and it is asked for clips that were "
                "bought at the old one."
            )
            self._ask("Is it the same service?")
            repair.accept_endpoint(after, self._who())
        text = f"the run belongs to {after}"
        return self._end("accept-endpoint", text, before=before, endpoint=after)

    def import_(self, source: str) -> int:
        events = rescued(_text(source), self.folder.name)
        with Journal.open(self.folder, self.world) as journal:
            tally = Tally.of(journal.records)
            verdict = judge(tally, events)
            for event in verdict.new:
                _say(f"  {event.prediction}  task {event.task[:8]}")
            for problem in verdict.problems:
                _say(f"  not taken: {problem}")
            if verdict.new:
                self._ask(f"Write down {_ids(len(verdict.new))}?")
                recorder = Recorder(journal, tally, _Nobody())
                anyio.run(self._write, recorder, verdict, source)
        text = f"{_ids(len(verdict.new))} imported, {verdict.known} known already"
        counts = {"imported": len(verdict.new), "known": verdict.known}
        problems = list(verdict.problems)
        return self._end(
            "import", text, **counts, problems=problems, doubt=bool(problems)
        )

    async def _write(self, recorder: Recorder, verdict: Import, source: str) -> None:
        name = "pasted" if source == "-" else Path(source).name
        await write_import(recorder, verdict, name, by=self._who())

    def _ask(self, question: str) -> None:
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise UsageError(
                "there is nobody to ask",
                rule="no-terminal",
                advice="Nothing was changed. Without a terminal add --yes.",
            )
        if not click.confirm(question, err=True):
            raise UsageError("cancelled; nothing was changed", rule="cancelled")

    def _who(self) -> str:
        user = "unknown"
        with suppress(OSError, KeyError, ImportError):
            user = getpass.getuser()
        return f"{user}@{self.world.host}"

    def _end(
        self, action: str, text: str, *, doubt: bool = False, **facts: object
    ) -> int:
        code, reason = (6, "uncertain") if doubt else (0, "done")
        if self.as_json:
            answer("state", code, reason, run=self.folder.name, action=action, **facts)
        else:
            click.echo(text)
        return code


def _on_loopback() -> bool:
    return settings.read().loopback


def _auditor(found: Settings, folder: Path) -> Audit | None:
    """Looks over the network, if there is a key."""
    if not found.key:
        return None
    profile = profile_of(found.base_url)
    account = Account(found.base_url, found.key, profile, found.proxy)

    def audit(tally: Tally, records: Sequence[Record]) -> Sequence[str]:
        check_endpoint(tally, account)
        orphans = anyio.run(_look, account, tally, records, _foreign(folder, found))
        if orphans is None:
            raise ApiError(
                "the account's history cannot be read back to the run's beginning",
                rule="no-audit",
                advice="Nothing was changed. Try again later; or look at the account "
                "yourself, then add --offline.",
            )
        return [
            f"{one.prediction}  {one.created_at}  {one.model}, up to "
            f"{dollars(one.cost)}"
            for one in orphans
        ]

    return audit


def _foreign(folder: Path, found: Settings) -> Foreign:
    """What other shards of the run have bought is no purchase of this one."""
    shard = told(folder.name)
    if shard is None:
        return nobodys
    models = known_models(found, sandbox=False)
    return Others(folder, shard[1], models).now()


async def _look(
    account: Account, tally: Tally, records: Sequence[Record], foreign: Foreign
) -> list[Orphan] | None:
    world = World()
    async with connected(account, (account.profile.reads, 1.0), world) as client:
        await first_contact(client, account, _say)
        # Whatever model it was: the copy may not even name it.
        profile = account.profile
        return await audit_whole(client, tally, records, [""], profile, foreign)


class _Nobody:
    """Watches a repair; what there is to say is said here."""

    def event(self, event: Event, tally: Tally) -> None:
        """Nothing."""

    def notice(self, text: str) -> None:
        """Say it."""
        _say(text)

    def received(self, count: int) -> None:
        """Nothing."""

    def alive(self, tally: Tally) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def _show(edit: Edited) -> None:
    sealed = edit.before or "no checksum"
    _say(f"line {edit.number}, record {edit.n}: sealed {sealed}, reads {edit.after}")
    _say(f"  {edit.text}")


def _text(source: str) -> str:
    try:
        if source == "-":
            return sys.stdin.buffer.read().decode("utf-8", "replace")
        return Path(source).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"cannot read {source}: {error.strerror}") from error


def _lines(count: int) -> str:
    return f"{count} line{'s' if count > 1 else ''}"


def _ids(count: int) -> str:
    return f"{count} paid id{'' if count == 1 else 's'}"


def _say(text: Any) -> None:
    click.echo("\n".join(safe(line) for line in str(text).split("\n")), err=True)
