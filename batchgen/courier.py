"""Pictures are with the service before what shows them is bought."""

from collections import defaultdict
from datetime import timedelta
from pathlib import Path

import anyio

from batchgen.answers import when
from batchgen.errors import Refused, Unavailable
from batchgen.events import MediaUploaded, TaskAbandoned
from batchgen.perform import Local, PictureChanged
from batchgen.recorder import Recorder
from batchgen.references import elements, pictures, task_of, wire
from batchgen.state import Status
from batchgen.task import Task
from batchgen.trouble import KeyRejected
from batchgen.world import iso

LIFE = timedelta(hours=24)
"""An upload is used for so long; the service keeps it for seven days."""


class Courier:
    """Brings each picture once, as long as the service has it.

    Nothing here costs money, and nothing is bought while a picture is missing.
    """

    def __init__(self, recorder: Recorder, perform: Local) -> None:
        self._recorder = recorder
        self._tally = recorder.tally
        self._perform = perform
        self._one_at_a_time: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)
        self._hopeless: dict[str, str] = {}  # reference -> why not in this session
        self._refused: dict[str, str] = {}

    def sent(self, task: Task, now: str) -> dict[str, object] | None:
        """The request as it goes out; None while it lacks something.

        Args:
            task: with references.
            now: by the service's clock.
        """
        urls = self._tally.urls(task.input, now)
        try:
            return wire(task.input, urls, self._tally.elements)
        except KeyError:
            return None

    async def bring(self, task: Task, now: str) -> bool:
        """See to it that nothing is lacking; False if the task cannot be bought.

        Raises:
            KeyRejected: the key is not good for uploads.
            StoreError: the state file cannot be written.
        """
        if any(
            task_of(ref) not in self._tally.elements for ref in elements(task.input)
        ):
            return False
        for ref in pictures(task.input):
            async with self._one_at_a_time[ref]:
                there = ref in self._tally.urls(task.input, now)
                if not there and not await self._bring(task, ref):
                    return False
        return True

    async def _bring(self, task: Task, ref: str) -> bool:
        path = task.files.get(ref)
        if path is None:  # as it was bought; the manifest has it no more
            self._put_off(task, "one of its pictures is no longer in the manifest")
            return False
        if ref not in self._refused and ref not in self._hopeless:
            await self._try(task, ref, path)
        if ref in self._refused:
            await self._give_up(task, self._refused[ref])
        return ref not in self._refused and ref not in self._hopeless

    async def _try(self, task: Task, ref: str, path: str) -> None:
        try:
            url = await self._perform.upload(ref, path)
        except Refused as no:
            # By its name alone: the state file goes places where our folders do not.
            name = Path(path).name
            self._refused[ref] = f"{name} is not taken (HTTP {no.http}): {no.message}"
            return
        except KeyRejected:
            raise
        except (Unavailable, PictureChanged) as error:
            self._hopeless[ref] = error.message
            self._put_off(task, error.message)
            return
        # Queued before the intent that needs it, and durable with that.
        until = when(self._perform.service_time())
        assert until is not None  # noqa: S101 - it is our own writing
        event = MediaUploaded(ref=ref, url=url, until=iso(until + LIFE))
        self._recorder.record(event)

    def _put_off(self, task: Task, why: str) -> None:
        self._recorder.observer.notice(f"{task.slug} is not bought: {why}")

    async def _give_up(self, task: Task, message: str) -> None:
        state = self._tally.states.get(task.id)
        if state is None or state.status is Status.PENDING:
            self._recorder.plan(task)
            event = TaskAbandoned(task=task.id, kind="invalid", message=message[:2048])
            await self._recorder.write(event)
        else:
            self._recorder.observer.notice(f"{task.slug}: {message}")
