"""The store of a run as commands meet it: named, and looked into."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from batchgen.cli.order import Order
from batchgen.events import OutputsMissing, SavedFile
from batchgen.objects import NOTHING, ObjectStore
from batchgen.state import Status
from batchgen.tally import Tally
from batchgen.world import World

__all__ = ["NOTHING", "address_of", "look", "missing"]


def address_of(order: Order) -> str:
    """Where the clips of a run go: below its name in a bucket; empty for its folder."""
    bucket = order.manifest.output.store
    return f"{bucket}/{order.folder.name}" if bucket else ""


def look(store: str, world: World) -> dict[str, int]:
    """What is in a bucket: name -> bytes; it takes clips. Nothing of a folder.

    Raises:
        StoreError: it does not take them.
        UsageError: the extra is not installed.
    """
    return ObjectStore(store, world).look() if store else {}


def missing(
    order: Order, tally: Tally, store: str, there: Mapping[str, int]
) -> Iterator[OutputsMissing]:
    """Clips that somebody deleted: fetched again for nothing, if that can be.

    What lies in another store than the present one is left to itself.
    """
    videos = order.folder / "videos"

    def gone(file: SavedFile) -> bool:
        if not file.store:
            return not _whole(videos, file)
        return file.store == store and there.get(file.name) != file.bytes

    for task in order.chosen:
        state = tally.states.get(task)
        if state is None or state.status is not Status.DONE:
            continue
        names = [file.name for file in state.files if gone(file)]
        if names:
            yield OutputsMissing(task=task, names=tuple(names))


def _whole(videos: Path, file: SavedFile) -> bool:
    try:
        return (videos / file.name).stat().st_size == file.bytes
    except OSError:
        return False
