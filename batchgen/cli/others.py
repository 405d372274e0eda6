"""Whose the predictions are that a shard finds in the account's history."""

from pathlib import Path

from batchgen import journal
from batchgen.answers import Prediction
from batchgen.audit import Foreign
from batchgen.cli.split import parts
from batchgen.errors import JournalError, StoreError
from batchgen.models import Catalog
from batchgen.references import blurred
from batchgen.shards import Shard, key_of_request, told
from batchgen.tally import Tally


class Others:
    """Whose a prediction is that a shard does not know: another shard's, or nobody's.

    A request belongs to one shard alone, so what was asked for tells it. Pictures and
    elements have other addresses for everybody; of those only the state files of the
    other shards tell, if they are on this disk.
    """

    def __init__(self, folder: Path, shard: Shard, models: Catalog) -> None:
        self._folder = folder
        self._shard = shard
        self._models = models
        self._read: dict[Path, tuple[int, frozenset[str]]] = {}

    def now(self) -> Foreign:
        """What can be told at this moment; the others may be buying, too."""
        beside = self._beside()
        owned = frozenset[str]().union(*map(self._owned, beside))
        complete = len(beside) == self._shard.count - 1

        def foreign(row: Prediction) -> bool | None:
            if row.id in owned:
                return True
            plain = row.inputs is not None and blurred(row.inputs) == row.inputs
            if row.inputs is None or not plain or not row.model:
                return False if complete else None
            key = key_of_request(row.model, row.inputs, self._models)
            return not self._shard.holds(key)

        return foreign

    def _beside(self) -> list[Path]:
        found = told(self._folder.name)
        beside = parts(self._folder.parent, found[0]) if found else ()
        return [
            path
            for its, path in beside
            if its.count == self._shard.count and its != self._shard
        ]

    def _owned(self, folder: Path) -> frozenset[str]:
        """Predictions of another shard; its state file grows while both run."""
        try:
            size = (folder / journal.NAME).stat().st_size
            before = self._read.get(folder)
            if before is None or before[0] != size:
                tally = Tally()
                journal.read(folder, lambda _: None, tally.hear)
                self._read[folder] = size, frozenset(tally.owned)
        except (OSError, JournalError, StoreError):
            return frozenset()
        return self._read[folder][1]
