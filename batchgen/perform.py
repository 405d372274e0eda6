"""Step -> event: the only place where a decision touches the world.

It has no journal to write to: what came of a step is returned, and the runner writes
it down.
"""

from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePosixPath
from threading import Event as Flag
from typing import Any, assert_never

import anyio
import httpx

from batchgen.answers import Prediction
from batchgen.client import Client
from batchgen.disk import keep_folders
from batchgen.downloads import LinkExpired, fetch
from batchgen.errors import (
    BatchgenError,
    NotSent,
    Refused,
    StoreError,
    Unavailable,
    Uncertain,
)
from batchgen.events import (
    AttemptAccepted,
    AttemptNotSent,
    AttemptRefused,
    AttemptUncertain,
    OutputsMoved,
    OutputsSaved,
    PredictionCompleted,
    PredictionFailed,
    SavedFile,
    TaskAbandoned,
    TaskEvent,
    Window,
)
from batchgen.images import kind_of
from batchgen.moves import (
    FLAGGED,
    Relocation,
    carry_out,
    homeward,
    numbered,
    retired,
)
from batchgen.parts import on_disk, write_sidecar
from batchgen.plan import Abandon, Await, Download, Step, Submit
from batchgen.profile import INVALID_CODES, MEDIA_CODES, MODERATION_CODES, Profile
from batchgen.references import pictures
from batchgen.space import Space
from batchgen.task import Task
from batchgen.uploads import MOST_BYTES
from batchgen.world import World

_MOST_RENEWALS = 5
_MOST_EMPTY_LOOKS = 3
_KEY_STRIKES = 3
_DOWNLOADS_AT_ONCE = 4
_UPLOADS_AT_ONCE = 4  # each holds a whole picture in memory
_MODERATION_WORDS = ("moderation", "content policy", "sensitive content")


class PictureChanged(BatchgenError):
    """A picture is not what it was when the tasks were made."""

    rule = "changed"


class KeyRejected(Unavailable):
    """Readings are answered 401 or 403 again and again; nothing paid is lost."""


class Local:
    """Performs steps in this process.

    Set `stop` to end downloads under way; their parts stay for the next session.
    `space` is where downloads wait for room on the disk.
    `received` is told of every piece of a download, from the thread that fetches it.
    """

    def __init__(
        self,
        client: Client,
        files: httpx.Client,
        profile: Profile,
        videos: Path,
        world: World,
        *,
        sidecars: bool = True,
    ) -> None:
        self.stop = Flag()
        self.received: Callable[[int], None] = lambda _count: None
        self._client = client
        self._files = files
        self._profile = profile
        self._videos = videos
        self._world = world
        self._sidecars = sidecars
        self._fresh: dict[str, Prediction] = {}
        self._accepted_at: dict[str, float] = {}
        self._prepared: set[Path] = set()
        self._threads = anyio.CapacityLimiter(_DOWNLOADS_AT_ONCE)
        self.space = Space(videos, world)
        self._uploads = anyio.CapacityLimiter(_UPLOADS_AT_ONCE)

    async def __call__(self, step: Step) -> TaskEvent:
        """Do it; the one event that came of it."""
        match step:
            case Submit():
                return await self._submit(step)
            case Await():
                return await self._await(step)
            case Download():
                return await self._download(step)
            case Abandon(task, kind, message):
                return TaskAbandoned.model_validate(
                    {"task": task.id, "kind": kind, "message": message}
                )
            case _:
                assert_never(step)

    async def _submit(self, step: Submit) -> TaskEvent:
        task, number = step.task.id, step.attempt
        began = anyio.current_time()
        asked = self._client.clock.window(began)
        try:
            found = await self._client.submit(step.task.model, step.task.input)
        except Refused as no:
            return _refused(task, number, no)
        except NotSent as error:
            return AttemptNotSent(
                task=task, attempt=number, phase=error.phase, error=str(error)
            )
        except Uncertain as error:
            return AttemptUncertain(
                task=task,
                attempt=number,
                phase=error.phase,
                error=str(error),
                window=_both(asked, self._client.clock.window(began)),
                evidence=error.evidence,
            )
        self._accepted_at[found.id] = anyio.current_time()
        return AttemptAccepted(
            task=task,
            attempt=number,
            prediction=found.id,
            http=200,
            latency_ms=round((anyio.current_time() - began) * 1000),
        )

    def service_time(self) -> str:
        """The latest that the service's clock can show."""
        return self._client.clock.latest()

    async def upload(self, ref: str, path: str) -> str:
        """Bring a picture to the service; the address at which it can read it.

        Passing trouble is borne for as long as the profile's endurance.

        Raises:
            PictureChanged: its content is not that of the reference.
            Refused: the service does not take it.
            Unavailable: it did not work out.
            KeyRejected: the key is not good for it.
        """
        async with self._uploads:
            data = await self._world.thread(_picture, path, ref)
            media_type = kind_of(data) or "application/octet-stream"
            name = f"{ref[7:23]}.{media_type.partition('/')[2]}"
            trouble, last = _Trouble(self._profile, self._world), "no answer"
            with anyio.move_on_after(self._profile.endurance):
                while True:
                    try:
                        return await self._client.upload(data, name, media_type)
                    except Unavailable as error:
                        last = error.message
                        await anyio.sleep(trouble.pause(error))
        raise Unavailable(f"{Path(path).name} cannot be uploaded: {last}")

    async def _await(self, step: Await) -> TaskEvent:
        """Look again and again, stretching, until it ends.

        Raises:
            KeyRejected: the key is no longer good for reading.
        """
        profile = self._profile
        new = step.prediction in self._accepted_at
        self._accepted_at.setdefault(step.prediction, anyio.current_time())
        delay = profile.poll_first if new else 0.0
        trouble = _Trouble(self._profile, self._world)
        empty = 0
        while True:
            await anyio.sleep(delay)
            try:
                found = await self._client.result(step.prediction)
            except Unavailable as error:
                if error.http in (404, 410) and self._is_gone(step.prediction, error):
                    return _failed(step, "gone", str(error))
                delay = trouble.pause(error)
                continue
            trouble = _Trouble(profile, self._world)
            empty += found.meaning == "done" and not found.outputs
            if found.meaning == "waiting" or 0 < empty <= _MOST_EMPTY_LOOKS:
                delay = min(
                    max(delay, profile.poll_every) * profile.poll_growth,
                    profile.poll_longest,
                )
                continue
            self._accepted_at.pop(step.prediction, None)
            return self._ended(step, found)

    def _is_gone(self, prediction: str, error: Unavailable) -> bool:
        age = anyio.current_time() - self._accepted_at[prediction]
        return error.http == 410 or age > self._profile.drop_grace  # noqa: PLR2004

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

    async def _download(self, step: Download) -> TaskEvent:
        """Fetch every output; signed addresses that died are asked for again.

        Raises:
            StoreError: the disk does not take the file, or had no room for too long.
            KeyRejected: the key is no longer good for reading.
        """
        trouble = _Trouble(self._profile, self._world)
        self._accepted_at.setdefault(step.prediction, anyio.current_time())
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
                if error.http in (404, 410) and self._is_gone(step.prediction, error):
                    return _lost(step, "the service no longer knows it")
                odd = error
            await anyio.sleep(trouble.pause(odd))
        return _lost(step, f"no link opened after {renewals + empty} looks")

    async def _saved(self, step: Download, found: Prediction) -> OutputsSaved:
        files = []
        run_sync = self._world.thread
        for number, url in enumerate(found.urls, 1):
            name = numbered(step.task.output, number)
            target = self._videos / name
            await run_sync(self._prepare, target.parent)
            saved: SavedFile = await run_sync(
                partial(
                    fetch,
                    url,
                    target,
                    http=self._files,
                    loopback=self._profile.loopback,
                    disk=self._world.disk,
                    boot=self._world.boot,
                    stop=self.stop,
                    on_bytes=self.received,
                ),
                limiter=self._threads,
            )
            path = str(PurePosixPath(name).with_name(saved.name))
            files.append(saved.model_copy(update={"name": path}))
        event = OutputsSaved(
            task=step.task.id, attempt=step.attempt, files=tuple(files)
        )
        if self._sidecars:
            await run_sync(self._explain, step, found, event)
        return event

    async def quarantine(self, task: Task, files: Sequence[SavedFile]) -> TaskEvent:
        """Put the files of a flagged clip apart.

        Raises:
            StoreError: a file cannot be moved.
        """
        return await self._move(homeward(task.id, f"{FLAGGED}/{task.output}", files))

    async def retire(self, task: Task, files: Sequence[SavedFile]) -> TaskEvent:
        """Put a clip that is replaced into `_previous/`.

        Raises:
            StoreError: a file cannot be moved.
        """
        return await self._move(retired(task.id, files))

    async def _move(self, away: Relocation) -> TaskEvent:
        moved: OutputsMoved | None = await self._world.thread(
            carry_out, self._videos, away, self._world.disk
        )
        return moved or OutputsMoved(task=away.task, moves=())

    def _prepare(self, folder: Path) -> None:
        if folder not in self._prepared:
            with on_disk(folder):
                keep_folders(self._world.disk, folder, self._videos.parent)
            self._prepared.add(folder)

    def _explain(self, step: Download, found: Prediction, event: OutputsSaved) -> None:
        """A sidecar makes each file self-explaining after it leaves the folder."""
        for file in event.files:
            path = (self._videos / file.name).with_suffix(".json")
            write_sidecar(path, self._sidecar(step, found, file), disk=self._world.disk)

    def _sidecar(
        self, step: Download, found: Prediction, file: SavedFile
    ) -> dict[str, Any]:
        task = step.task
        return {
            "schema": "batchgen.clip/1",
            "file": file.name,
            "sha256": file.sha256,
            "bytes": file.bytes,
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
            "saved_at": self._world.stamp(),
        }


class _Trouble:
    """How long to wait between readings that fail, and when to stop asking."""

    def __init__(self, profile: Profile, world: World) -> None:
        self._profile = profile
        self._world = world
        self._failures = 0
        self._strikes = 0

    def pause(self, error: Unavailable) -> float:
        """Seconds until the next look: as told, else doubling with jitter."""
        self._failures += 1
        self._strikes = self._strikes + 1 if error.http in (401, 403) else 0
        if self._strikes >= _KEY_STRIKES:
            raise KeyRejected(error.message, http=error.http)
        ceiling = min(
            self._profile.backoff_first * 2.0 ** min(self._failures, 32),
            self._profile.backoff_longest,
        )
        jitter = self._world.chance.uniform(0.5, 1.0)
        return error.retry_after or ceiling * jitter


def _both(first: Window, last: Window) -> Window:
    """From the beginning of one to the end of the other, whatever the clocks did.

    While the machine sleeps the loop's clock stands still, and afterwards nothing
    tells any more how long ago a request was begun.
    """
    return Window(
        since=min(first.since, last.since), until=max(first.until, last.until)
    )


def _refused(task: str, number: int, no: Refused) -> AttemptRefused:
    wait = None if no.retry_after is None else round(no.retry_after * 1000)
    return AttemptRefused.model_validate(
        {
            "task": task,
            "attempt": number,
            "kind": no.kind,
            "message": no.message[:2048],
            "http": no.http,
            "retryable": no.retryable,
            "retry_after_ms": wait,
        }
    )


def _failed(
    step: Await, kind: str, message: str, code: int | None = None
) -> PredictionFailed:
    return PredictionFailed.model_validate(
        {
            "task": step.task.id,
            "attempt": step.attempt,
            "kind": kind,
            "message": (message or "no reason given")[:2048],
            "code": code,
        }
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


def _picture(path: str, ref: str) -> bytes:
    """The content of a picture, if it is still the one that was planned."""
    name = Path(path).name
    try:
        with Path(path).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        why = f"{name} cannot be read: {error.strerror}"
        raise PictureChanged(why) from error
    if f"sha256:{sha256(data).hexdigest()}" != ref:
        raise PictureChanged(f"{name} has changed since it was planned; run again")
    return data


def _lost(step: Download, message: str) -> TaskEvent:
    if step.stray:  # the task goes on without it
        return PredictionFailed(
            task=step.task.id, attempt=step.attempt, kind="gone", message=message
        )
    return TaskAbandoned(task=step.task.id, kind="lost", message=message)
