"""One row of the live display: a tqdm bar that says more than a number."""

from collections.abc import MutableMapping, Sequence
from threading import RLock
from typing import TYPE_CHECKING, Any, Never

from tqdm.std import tqdm

from batchgen import terminal

_LABEL = 9
_FALLBACK = 79

if TYPE_CHECKING:
    _Tqdm = tqdm[Never]
else:
    _Tqdm = tqdm

Part = tuple[int, str]
"""A remark with its rank; where room is short, the highest rank goes first."""


class Row(_Tqdm):
    """One row: label, bar, amount, and as many remarks as there is room for."""

    monitor_interval = 0  # no thread that redraws behind our back
    lock = _lock = RLock()
    amount = ""
    amount_columns = 0
    parts: tuple[Part, ...] = ()
    between = ", "

    @property
    def format_dict(self) -> MutableMapping[str, Any]:
        """The fields of the row; `{postfix}` would put a comma of its own in front."""
        fields = super().format_dict
        columns = fields["ncols"] or _FALLBACK
        bar = max(4, min(25, columns // 5 - 6))
        room = columns - _LABEL - bar - 2 - self.amount_columns - 3
        amount = terminal.left(self.amount, self.amount_columns)
        remarks = fitting(self.parts, room, self.between)
        fields["bar_format"] = f"{{desc:<{_LABEL}}}{{bar:{bar}}}  {{remarks}}"
        fields["remarks"] = f"{amount}   {remarks}".rstrip()
        return fields

    def fill(self, amount: int, total: int) -> None:
        """How far it is; never beyond the end, which tqdm would take for unknown."""
        self.n, self.total = min(amount, total), total

    def refresh(self, *_: object, **__: object) -> None:
        """Draw, once there is something to say.

        tqdm's own would keep the lock if the stream is broken, and draw before the row
        is ours.
        """
        with self.lock:
            if self.amount and not self.disable:
                self.display()


def fitting(parts: Sequence[Part], room: int, between: str) -> str:
    """As many parts as fit, whole, in their order."""
    kept = list(parts)
    while kept and terminal.width(between.join(text for _, text in kept)) > room:
        kept.remove(max(kept))
    return between.join(text for _, text in kept)
