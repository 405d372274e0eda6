"""Step -> event: the only place where a decision touches the world.

It has no journal to write to: what came of a step is returned, and the runner writes
it down.
"""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import assert_never

import anyio
from msgspec import convert

from batchgen.client import Client
from batchgen.errors import BatchgenError, NotSent, Refused, Unavailable, Uncertain
from batchgen.events import (
    AttemptAccepted,
    AttemptNotSent,
    AttemptRefused,
    AttemptUncertain,
    OutputsMoved,
    SavedFile,
    TaskAbandoned,
    TaskEvent,
    Window,
)
from batchgen.fetcher import Fetcher
from batchgen.images import kind_of
from batchgen.moves import Relocation, carry_out, homeward, retired
from batchgen.names import FLAGGED
from batchgen.plan import Abandon, Await, Download, Step, Submit
from batchgen.profile import Profile
from batchgen.stores import at_hand
from batchgen.task import Task
from batchgen.trouble import Trouble
from batchgen.uploads import MOST_BYTES
from batchgen.world import World

_UPLOADS_AT_ONCE = 4  # each holds a whole picture in memory


class PictureChanged(BatchgenError):
    """A picture is not what it was when the tasks were made."""

    rule = "changed"


class Local:
    """Performs steps in this process; what is paid is brought in by its `fetcher`."""

    def __init__(
        self,
        client: Client,
        fetcher: Fetcher,
        profile: Profile,
        videos: Path,
        world: World,
    ) -> None:
        self.fetcher = fetcher
        self._client = client
        self._profile = profile
        self._stores = at_hand(fetcher.store, videos, world)
        self._world = world
        self._uploads = anyio.CapacityLimiter(_UPLOADS_AT_ONCE)

    async def __call__(self, step: Step) -> TaskEvent:
        """Do it; the one event that came of it."""
        match step:
            case Submit():
                return await self._submit(step)
            case Await():
                return await self.fetcher.wait(step)
            case Download():
                return await self.fetcher.download(step)
            case Abandon(task, kind, message):
                return convert(
                    {"task": task.id, "kind": kind, "message": message}, TaskAbandoned
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
        self.fetcher.accepted(found.id)
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
            trouble, last = Trouble(self._profile, self._world), "no answer"
            with anyio.move_on_after(self._profile.endurance):
                while True:
                    try:
                        return await self._client.upload(data, name, media_type)
                    except Unavailable as error:
                        last = error.message
                        await anyio.sleep(trouble.pause(error))
        raise Unavailable(f"{Path(path).name} cannot be uploaded: {last}")

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
            carry_out, away, self._stores
        )
        return moved or OutputsMoved(task=away.task, moves=())


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
    return convert(
        {
            "task": task,
            "attempt": number,
            "kind": no.kind,
            "message": no.message[:2048],
            "http": no.http,
            "retryable": no.retryable,
            "retry_after_ms": wait,
        },
        AttemptRefused,
    )


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
