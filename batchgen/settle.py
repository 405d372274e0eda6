"""What becomes of attempts whose fate nobody wrote down."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import anyio

from batchgen.answers import Prediction, when
from batchgen.client import Client
from batchgen.errors import Unavailable
from batchgen.events import (
    AttemptAbsent,
    AttemptAccepted,
    AttemptStarted,
    AttemptUncertain,
    SessionOpened,
    Window,
)
from batchgen.history import only
from batchgen.journal import Journal
from batchgen.plan import Policy
from batchgen.profile import Profile
from batchgen.reconcile import Adoption, Doubt, Verdict, alone, judge, near, scan
from batchgen.recorder import Recorder
from batchgen.references import blurred, elements, pictures, unwire
from batchgen.slots import Groups
from batchgen.state import Stage
from batchgen.tally import Tally
from batchgen.witness import agrees
from batchgen.world import World, iso

Fingerprint = Callable[[str, Mapping[str, Any]], str]
"""Equal for request bodies of a model that ask for the same thing."""

_AGREEING_SCANS = 2
_LOOKS = 6
_MOST_FETCHED = 20  # predictions looked at one by one in each look at the history
_MOST_SHOWN = 20
_LONGEST_PAUSE = 30.0
# The service tells its time in whole seconds, so our estimate may be that much early.
_LONGEST_WAIT = 3600.0  # seconds; beyond any settle time
_DATE_STEP = timedelta(seconds=1)
_SLACK = timedelta(minutes=1)  # clocks, and dates without parts of a second
_FINAL = frozenset({401, 403, 404})


def left_open(journal: Journal, tally: Tally, until: str) -> list[AttemptUncertain]:
    """What dead sessions were submitting when they died: it may have been bought.

    The window is the whole time from the opening of the session until now, which is
    `until` by the service's clock: only while the lock was held can a byte have left.
    """
    started: dict[tuple[str, int], str] = {}
    opened = until
    left = list(tally.open_attempts())
    for record in only(journal.records, SessionOpened, AttemptStarted) if left else ():
        match record.event:
            case SessionOpened(clock_offset_ms=ahead):
                at = when(record.at)
                offset = timedelta(milliseconds=ahead)
                opened = iso(at + offset) if at else record.at
            case AttemptStarted(task=task, attempt=number):
                # Not the record's own time: our clock may have been set meanwhile,
                # and a window that is too wide costs nothing.
                started[task, number] = opened
            case _:
                pass
    return [
        AttemptUncertain(
            task=task,
            attempt=number,
            phase="session ended",
            error="the session ended before an answer was written down",
            window=Window(since=started[task, number], until=until),
        )
        for task, number in left
    ]


class Settlement:
    """Asks the history about every doubt and writes down what it proves."""

    def __init__(
        self,
        recorder: Recorder,
        client: Client,
        profile: Profile,
        policy: Policy,
        fingerprint: Fingerprint,
        world: World,
        *,
        alone: bool = True,
    ) -> None:
        self._recorder = recorder
        self._tally = recorder.tally
        self.client = client
        self._profile = profile
        self._policy = policy
        self._compare = fingerprint
        self._world = world
        self.groups = Groups()
        # Beside other shards nothing can be known by being the only one.
        self._may_be_alone = alone
        self._shown: set[tuple[str, int, frozenset[str]]] = set()
        self._mute: set[str] = set()
        self._listed: set[tuple[str, str]] = set()
        # Two verdicts side by side could both settle one attempt.
        self._one_at_a_time = anyio.Lock()

    def fingerprint(self, model: str, fields: Mapping[str, Any]) -> str:
        """Equal for requests that ask for the same, as planned and as listed."""
        ours = unwire(fields, self._tally.refs, self._tally.makers)
        return self._compare(model, ours)

    async def look(self) -> list[str]:
        """Adopt what the history shows; the tasks that got a prediction.

        May be called while others buy: groups with a request under way are left out,
        and submissions of those that are looked at wait.
        """
        async with self._one_at_a_time:
            return await self._look()

    async def _look(self) -> list[str]:
        doubts = list(self._doubts())
        with self.groups.settling(doubt.fingerprint for doubt in doubts) as quiet:
            doubts = [doubt for doubt in doubts if doubt.fingerprint in quiet]
            verdict = await self._verdict(doubts)
            if verdict is None:
                return []
            await self._adopt(verdict)
        return [found.doubt.task for found in verdict.adopted]

    async def shows(self, bought: AttemptAccepted) -> bool:
        """Wait until the history shows a new prediction; whether with its inputs.

        False, too, where the history cannot be read or never shows it.
        """
        planned = self._tally.states[bought.task].planned
        assert planned is not None  # noqa: S101 - it was planned before it was bought
        wanted = self.fingerprint(planned.model, planned.input)
        since = self._server_now() - timedelta(seconds=self._profile.window_before)
        wait = self._profile.accept_settle + self._profile.list_settle
        with anyio.move_on_after(wait):
            for pause in self._waits():
                await anyio.sleep(pause)
                until = self._server_now() + timedelta(seconds=wait) + _SLACK
                try:
                    rows = await self.client.newest(planned.model, since, until)
                except Unavailable as error:
                    if error.http in _FINAL:
                        return False
                    continue
                for row in rows:
                    if row.id == bought.prediction:
                        return self._print_of(row) == wanted
        return False

    def _waits(self) -> Iterator[float]:
        """Doubling pauses without an end."""
        for tries in count():
            longest = self._profile.backoff_first * 2.0 ** min(tries, 16)
            yield min(longest, _LONGEST_PAUSE) / 2

    async def wait_and_look(self, stopping: anyio.Event) -> bool:
        """Adopt, and under the policy prove absences; whether anything is to be done.

        An absence needs two complete looks that agree, the second after the settle
        time of the service.
        """
        async with self._one_at_a_time:
            return await self._prove(stopping)

    async def _prove(self, stopping: anyio.Event) -> bool:
        moved = bool(await self._look())
        doubts = list(self._doubts())
        if not doubts or "absent" not in self._policy.retry:
            return moved
        soon = [doubt for doubt in doubts if self._settles_soon(doubt)]
        if not soon:
            return moved
        before = await self._verdict(doubts)
        self._recorder.observer.notice(self._explain(soon))
        with anyio.move_on_after(self._seconds_until_settled(soon)):
            await stopping.wait()
            return moved
        after = await self._verdict(doubts)
        if before is None or after is None:
            return moved
        await self._adopt(after)
        absent = [
            doubt
            for doubt in after.missing
            if doubt in before.missing
            and doubt in soon
            and not doubt.taken
            and self._still_listed(doubt)
            and await self._shows_ours(doubt)
        ]
        for doubt in absent:
            await self._recorder.write(self._absence(doubt))
        return moved or bool(after.adopted) or bool(absent)

    def _doubts(self) -> Iterator[Doubt]:
        for task, number, window in self._tally.doubtful():
            planned = self._tally.states[task].planned
            since = when(window.since) if window else None
            until = when(window.until) if window else None
            if planned is None or since is None or until is None:
                continue
            wider = timedelta(milliseconds=self._tally.widened.get((task, number), 0))
            yield Doubt(
                task=task,
                attempt=number,
                model=planned.model,
                fingerprint=self.fingerprint(planned.model, planned.input),
                since=min(since, until) - wider,
                until=max(since, until) + _DATE_STEP + wider,
                taken=self._tally.states[task].attempts[number - 1].taken,
            )

    async def _verdict(self, doubts: Sequence[Doubt]) -> Verdict | None:
        """One complete look; None if it proves nothing."""
        if not doubts:
            return Verdict()
        listed = await scan(self._history, doubts, self._profile)
        if listed is None:
            self._recorder.observer.notice(
                "the account's history cannot be read now; nothing in doubt was settled"
            )
            return None
        self._listed = {(row.model, row.id) for row in listed if row.inputs}
        listed = await self._with_inputs(listed)
        prints = self._prints(doubts)
        found = judge(doubts, listed, self._tally.owned, prints, self._profile)
        found = await self._witnessed(found, listed)
        taken = set(self._under_other_clips(listed))
        missing = [one for one in found.missing if one.fingerprint not in taken]
        unclear = [one for one in found.missing if one.fingerprint in taken]
        taken_ids = self._tally.owned | {one.prediction for one in found.adopted}
        hidden = [row for row in listed if row.id not in taken_ids and not prints(row)]
        self._show(hidden, found.unclear)
        return replace(
            found, missing=tuple(missing), unclear=(*found.unclear, *unclear)
        )

    async def _witnessed(
        self, verdict: Verdict, listed: Sequence[Prediction]
    ) -> Verdict:
        """Adopt as well what is hidden and alone, where its bill agrees."""
        for found in self._alone(verdict, listed):
            doubt = found.doubt
            attempt = self._tally.states[doubt.task].attempts[doubt.attempt - 1]
            agreed = await agrees(self.client, found, attempt.reserve)
            # While that was read others may have begun to buy.
            if agreed and found in self._alone(verdict, listed):
                verdict = replace(
                    verdict,
                    adopted=(*verdict.adopted, found),
                    unclear=tuple(one for one in verdict.unclear if one != doubt),
                )
        return verdict

    def _alone(self, verdict: Verdict, listed: Sequence[Prediction]) -> list[Adoption]:
        if not self._may_be_alone:
            return []
        plans = [
            self._tally.states[task].planned for task, *_ in self._tally.doubtful()
        ]
        models = [planned.model for planned in plans if planned]
        owned = self._tally.owned | {one.prediction for one in verdict.adopted}
        now = self.client.clock.earliest()
        found = alone(verdict.unclear, models, listed, owned, self._profile, now)
        return list(found)

    async def _with_inputs(self, listed: Sequence[Prediction]) -> list[Prediction]:
        """What the listing hides may stand in the predictions themselves."""
        rows, asked = [], 0
        for row in listed:
            if row.inputs is None and row.id not in self._tally.owned:
                asked += 1
                if asked <= _MOST_FETCHED:
                    with suppress(Unavailable):
                        found = await self.client.result(row.id)
                        row = replace(  # noqa: PLW2901 - the same row, known better
                            row, inputs=found.inputs, model=row.model or found.model
                        )
            rows.append(row)
        return rows

    def _show(self, rows: Sequence[Prediction], unclear: Sequence[Doubt]) -> None:
        """What only a person can settle: the candidates, and the words to type."""
        for doubt in unclear:
            found = [row for row in rows if near(row, doubt, self._profile)]
            key = (doubt.task, doubt.attempt, frozenset(row.id for row in found))
            if not found or key in self._shown:
                continue
            self._shown.add(key)
            planned = self._tally.states[doubt.task].planned
            slug = planned.slug if planned else doubt.task
            run = self._recorder.folder.name
            lines = [f"  {row.id}  {row.created_at}" for row in found[:_MOST_SHOWN]]
            more = len(found) - len(lines)
            lines += [f"  and {more} more"] if more else []
            text = "\n".join(lines)
            self._recorder.observer.notice(
                f"{slug} may be one of these predictions; the account's history does "
                f"not show what was asked for:\n{text}\n"
                f"settle it with: batchgen resolve {run} {doubt.task[:8]} "
                "--prediction ID (or --absent)"
            )

    def _under_other_clips(self, listed: Sequence[Prediction]) -> Iterator[str]:
        """Prints of what a clip owns that asked for something else.

        The service answered with an id that is not that clip's, so it may be the
        one that is looked for.
        """
        owners = {
            attempt.prediction: state.planned
            for state in self._tally.states.values()
            for attempt in state.attempts
            if attempt.prediction and state.planned
        }
        for row in listed:
            planned, print_ = owners.get(row.id), self._print_of(row)
            if planned is None or print_ is None:
                continue
            if print_ != self.fingerprint(planned.model, planned.input):
                yield print_

    def _prints(self, doubts: Sequence[Doubt]) -> Callable[[Prediction], str | None]:
        """Prints of listed predictions, as far as they can tell us something.

        Should the service show a picture under another address than ours, then a row
        that equals a doubt in all but its pictures proves nothing about it.
        """
        known = {doubt.fingerprint for doubt in doubts}
        vague = set()
        for doubt in doubts:
            planned = self._tally.states[doubt.task].planned
            if planned and (pictures(planned.input) or elements(planned.input)):
                vague.add(self._compare(planned.model, blurred(planned.input)))

        def print_of(row: Prediction) -> str | None:
            found = self._print_of(row)
            if found is None or found in known or not vague or row.inputs is None:
                return found
            blur = self._compare(row.model, blurred(row.inputs))
            return None if blur in vague else found

        return print_of

    async def _history(
        self, model: str, since: datetime, until: datetime
    ) -> list[Prediction]:
        """A complete look, repeated through passing trouble."""
        for pause in self._pauses():
            try:
                return await self.client.history(model, since, until)
            except Unavailable as error:
                if error.http in _FINAL:
                    raise
                await anyio.sleep(min(error.retry_after or pause, _LONGEST_PAUSE))
        return await self.client.history(model, since, until)

    def _pauses(self) -> Iterator[float]:
        for tries in range(_LOOKS - 1):
            longest = self._profile.backoff_first * 2.0**tries
            yield longest * self._world.chance.uniform(0.5, 1.0)

    def _print_of(self, row: Prediction) -> str | None:
        if row.inputs is None or not row.model:
            return None
        return self.fingerprint(row.model, row.inputs)

    async def _shows_ours(self, doubt: Doubt) -> bool:
        """Whether the history shows what it must: else its silence proves nothing.

        A listing that spells the model in another way, or that this key may not see,
        would be empty for ever. Of what we know to be ours it must show something;
        where nothing is known, anything of that model, or what else was bought then.
        """
        model = doubt.model
        ours = {
            state.prediction
            for state in self._tally.states.values()
            if state.planned and state.planned.model == model and state.prediction
        }
        shown = {one for name, one in self._listed if name == model}
        if not _some(shown, ours):  # not in the window: then among the newest
            now = self._server_now()
            past = now - timedelta(seconds=self._profile.retention)
            try:
                newest = await self.client.newest(model, past, now + _SLACK)
            except Unavailable:
                return False
            shown = {row.id for row in newest if row.inputs}
        if _some(shown, ours) or (not ours and await self._shows_all(doubt)):
            return True
        if model not in self._mute:
            self._mute.add(model)
            what = "none of our clips" if ours else "nothing at all"
            self._recorder.observer.notice(
                f"the account's history shows {what} of {model}, so it cannot prove "
                "that a submission never arrived: what is in doubt stays so. "
                f"`batchgen resolve {self._recorder.folder.name} TASK` settles it"
            )
        return False

    async def _shows_all(self, doubt: Doubt) -> bool:
        """Whether the history of all models shows ours in that time, and no stranger.

        One whose model no task of ours has may be ours by another spelling.
        """
        wide = timedelta(seconds=self._profile.window_before)
        late = timedelta(seconds=self._profile.accept_settle)
        try:
            rows = await self._history("", doubt.since - wide, doubt.until + late)
        except Unavailable:
            return False
        plans = [state.planned for state in self._tally.states.values()]
        models = {planned.model for planned in plans if planned}
        owned = self._tally.owned
        if any(row.id not in owned and row.model not in models for row in rows):
            return False
        return any(row.id in owned and row.inputs for row in rows)

    def _still_listed(self, doubt: Doubt) -> bool:
        """Whether the history would still show it; what is forgotten is not absent."""
        age = self._server_now() - doubt.since
        return age.total_seconds() < self._profile.retention

    async def _adopt(self, verdict: Verdict) -> None:
        for found in verdict.adopted:
            event = AttemptAccepted(
                task=found.doubt.task,
                attempt=found.doubt.attempt,
                prediction=found.prediction,
                via="history",
                note=found.note,
            )
            await self._recorder.write(event)

    def _absence(self, doubt: Doubt) -> AttemptAbsent:
        attempt = self._tally.states[doubt.task].attempts[doubt.attempt - 1]
        assert attempt.stage is Stage.UNCERTAIN  # noqa: S101 - doubts are made of these
        return AttemptAbsent(
            task=doubt.task,
            attempt=doubt.attempt,
            scans=_AGREEING_SCANS,
            window=Window(since=iso(doubt.since), until=iso(doubt.until)),
            by="retry absent",
        )

    def _server_now(self) -> datetime:
        return self._world.now() + timedelta(seconds=self.client.clock.offset)

    def _seconds_until_settled(self, doubts: Sequence[Doubt]) -> float:
        last = max(doubt.settled_at(self._profile) for doubt in doubts)
        now = self.client.clock.earliest()
        return max(0.0, (last - now).total_seconds())

    def _settles_soon(self, doubt: Doubt) -> bool:
        """No session waits for a window that a clock set forward made a year wide."""
        if self._seconds_until_settled([doubt]) <= _LONGEST_WAIT:
            return True
        self._recorder.observer.notice(
            f"{doubt.task[:8]}: the clock was set while it was submitted, so absence "
            "cannot be proved; it stays in doubt, `batchgen resolve` settles it"
        )
        return False

    def _explain(self, doubts: Sequence[Doubt]) -> str:
        seconds = round(self._seconds_until_settled(doubts))
        return (
            f"{len(doubts)} submissions are not in the account's history; "
            f"looking again in {seconds} s before buying them anew"
        )


def _some(shown: AbstractSet[str], ours: AbstractSet[str]) -> bool:
    """Whether anything of ours is shown; where we know nothing, anything."""
    return bool(shown & ours if ours else shown)
