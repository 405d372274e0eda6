"""What is paid is brought in: wait for a prediction to end, then fetch its outputs.

Nothing here can cost money, and all of it may be done twice.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
from msgspec import convert

from batchgen.answers import Prediction, when
from batchgen.backlog import Backlog
from batchgen.client import Client
from batchgen.downloads import LinkExpired
from batchgen.engines import Engine, Here, Lease
from batchgen.errors import StoreError, Unavailable
from batchgen.events import (
    OutputsSaved,
    PredictionCompleted,
    PredictionFailed,
    TaskAbandoned,
    TaskEvent,
)
from batchgen.names import numbered
from batchgen.plan import Await, Download
from batchgen.polls import Poll, Polls
from batchgen.profile import INVALID_CODES, MEDIA_CODES, MODERATION_CODES, Profile
from batchgen.references import pictures
from batchgen.sockets import Carrier
from batchgen.space import Space
from batchgen.trouble import Trouble
from batchgen.world import World

_MOST_RENEWALS = 5
_MOST_EMPTY_LOOKS = 3
_MODERATION_WORDS = ("moderation", "content policy", "sensitive content")


class Fetcher:
    """Polls in this process, and lets `engine` bring the clips.

    `space` is where downloads wait for room on the disk, `backlog` where they wait for
    their turn. `engine` is this process unless another one is given; it gets links and
    never the key.
    `store` is the address of a bucket, or empty for the run's own folder.
    `polls` says when to look at a prediction, and learns from how it ends.
    """

    def __init__(
        self,
        client: Client,
        files: Carrier,
        profile: Profile,
        videos: Path,
        world: World,
        *,
        sidecars: bool = True,
        engine: Engine | None = None,
        store: str = "",
    ) -> None:
        self.space = Space(videos, world)
        self.engine = engine or Here(files, world)
        self.backlog = Backlog(
            world, lambda: self.engine.at_once, life=profile.retention
        )
        self.polls = Polls(profile, client.reads_a_second)
        self._client = client
        self._profile = profile
        self._videos = videos
        self._world = world
        self._sidecars = sidecars
        self.store = store
        self._fresh: dict[str, Prediction] = {}
        self._accepted_at: dict[str, float] = {}

    def accepted(self, prediction: str) -> None:
        """It began just now: the first look need not come at once."""
        self._accepted_at[prediction] = anyio.current_time()
        self.backlog.born(prediction, self._world.now().timestamp())

    def hear(self, received: Callable[[int], None]) -> None:
        """Tell every piece of a download that comes, from any thread."""

        def both(count: int) -> None:
            self.backlog.meter.add(count)
            received(count)

        self.engine.hear(both)

    async def wait(self, step: Await) -> TaskEvent:
        """Look again and again until it ends.

        Raises:
            KeyRejected: the key is no longer good for reading.
        """
        born = self._accepted_at.get(step.prediction)
        self._accepted_at.setdefault(step.prediction, anyio.current_time())
        poll, took = self.polls.begin(step.task.model), None
        try:
            if born is not None:
                await anyio.sleep(self.polls.gap(poll, 0.0))
            event, took = await self._ending(step, poll, born)
        finally:
            self.polls.end(poll, took)
        return event

    async def _ending(
        self, step: Await, poll: Poll, born: float | None
    ) -> tuple[TaskEvent, float | None]:
        """How it ended; and at which age, if it made something and that is known."""
        name = step.prediction
        trouble, empty = Trouble(self._profile, self._world), 0
        while True:
            try:
                found = await self._client.result(name)
            except Unavailable as error:
                if self._is_gone(self._accepted_at[name], error):
                    return _failed(step, "gone", str(error)), None
                await anyio.sleep(trouble.pause(error))
                continue
            trouble = Trouble(self._profile, self._world)
            born = self._born(found) if born is None else born
            age = None if born is None else anyio.current_time() - born
            blank = found.meaning == "done" and not found.outputs
            empty += blank
            if blank and empty <= _MOST_EMPTY_LOOKS:
                await anyio.sleep(self._profile.poll_every)
            elif found.meaning == "waiting":
                # One heap of timers for all would save 13 us of a read's 600 and more.
                await anyio.sleep(self.polls.gap(poll, age))
            else:
                self._accepted_at.pop(name, None)
                made = found.meaning == "done" and not blank
                return self._ended(step, found), age if made else None

    def _born(self, found: Prediction) -> float | None:
        """When it began, by the event loop's clock, if the service tells."""
        created = when(found.created_at)
        if created is None:
            return None
        age = (self._client.clock.at_most() - created).total_seconds()
        return anyio.current_time() - max(0.0, age)

    def _is_gone(self, since: float, error: Unavailable) -> bool:
        """A 404 soon after the beginning is a copy of the service that lags behind."""
        age = anyio.current_time() - since
        late = age > self._profile.drop_grace
        return error.http == 410 or (error.http == 404 and late)  # noqa: PLR2004

    def _ended(self, step: Await, found: Prediction) -> TaskEvent:
        match found.meaning:
            case "failed":
                return _failed(step, _kind_of(step, found), found.error, found.code)
            case "cancelled":
                return _failed(step, "cancelled", found.error or found.word, found.code)
            case "gone":
                return _failed(step, "gone", "deleted at the service", found.code)
            case _:
                self._fresh[step.prediction] = found
                return PredictionCompleted(
                    task=step.task.id,
                    attempt=step.attempt,
                    outputs=found.outputs,
                    inference_ms=found.inference_ms,
                    flagged=found.flagged,
                )

    async def download(self, step: Download) -> TaskEvent:
        """Fetch every output; signed addresses that died are asked for again.

        Raises:
            StoreError: the disk does not take the file, or had no room for too long.
            KeyRejected: the key is no longer good for reading.
        """
        trouble = Trouble(self._profile, self._world)
        since = self._accepted_at.pop(step.prediction, anyio.current_time())
        renewals = empty = 0
        short_since: float | None = None
        while renewals <= _MOST_RENEWALS and empty <= _MOST_EMPTY_LOOKS:
            odd = Unavailable("the service shows it without a link")
            try:
                found = self._fresh.pop(step.prediction, None)
                found = found or await self._client.result(step.prediction)
                if found.urls:
                    return await self._saved(step, found)
                empty += found.meaning != "waiting"
            except StoreError as error:
                now = anyio.current_time()
                short_since = now if short_since is None else short_since
                await self.space.more(error, short_since)
                continue
            except LinkExpired as error:
                renewals += 1
                odd = Unavailable(error.message)
            except Unavailable as error:
                if self._is_gone(since, error):
                    return _lost(step, "the service no longer knows it")
                odd = error
            await anyio.sleep(trouble.pause(odd))
        return _lost(step, f"no link opened after {renewals + empty} looks")

    async def _saved(self, step: Download, found: Prediction) -> OutputsSaved:
        names = (
            numbered(step.task.output, count) for count, _ in enumerate(found.urls, 1)
        )
        lease = Lease(
            task=step.task.id,
            attempt=step.attempt,
            prediction=step.prediction,
            folder=str(self._videos.parent),
            links=tuple(zip(found.urls, names, strict=True)),
            loopback=self._profile.loopback,
            sidecar=_told(step, found) if self._sidecars else None,
            store=self.store,
        )
        brought = await self.engine.bring(lease)
        return OutputsSaved(
            task=step.task.id, attempt=step.attempt, files=brought.files
        )


def _told(step: Download, found: Prediction) -> dict[str, Any]:
    """What a sidecar tells, but for the file itself."""
    task = step.task
    return {
        "slug": task.slug,
        "hash": task.id,
        "take": task.take,
        "labels": dict(task.labels),
        "model": task.model,
        "request": dict(task.input),
        "prediction": step.prediction,
        "attempt": step.attempt,
        "price_micros": str(task.price),
        "created_at": found.created_at,
        "inference_ms": found.inference_ms,
        "flagged": found.flagged,
    }


def _failed(
    step: Await, kind: str, message: str, code: int | None = None
) -> PredictionFailed:
    return convert(
        {
            "task": step.task.id,
            "attempt": step.attempt,
            "kind": kind,
            "message": (message or "no reason given")[:2048],
            "code": code,
        },
        PredictionFailed,
    )


def _kind_of(step: Await, found: Prediction) -> str:
    """Whether the same request would fail again; doubt means the provider's fault."""
    text = found.error.lower()
    if found.code in MODERATION_CODES or any(w in text for w in _MODERATION_WORDS):
        return "moderation"
    if found.code in MEDIA_CODES and pictures(step.task.input):
        return "provider"  # the next attempt brings the pictures anew
    return "invalid" if found.code in INVALID_CODES else "provider"


def made(step: Download, *, known: bool) -> TaskEvent:
    """The end of an element: there is no file, but an id that the answer told."""
    if not known:
        return _lost(step, "the service shows it without an element id")
    return OutputsSaved(task=step.task.id, attempt=step.attempt, files=())


def _lost(step: Download, message: str) -> TaskEvent:
    if step.stray:  # the task goes on without it
        return PredictionFailed(
            task=step.task.id, attempt=step.attempt, kind="gone", message=message
        )
    return TaskAbandoned(task=step.task.id, kind="lost", message=message)
