"""Bars on a terminal: clips, money, files."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TextIO

from batchgen import terminal
from batchgen.events import Event, OutputsSaved, TaskAbandoned
from batchgen.money import dollars
from batchgen.progress.rows import Row
from batchgen.report.lines import Level, Line, Narrator
from batchgen.tally import Tally
from batchgen.words import about, size

_REDRAW = timedelta(seconds=0.1)
_SPEED_OVER = timedelta(seconds=5)
_NAMES = ("clips", "spend", "files")


class Bars:
    """Clips, money and files, drawn at most ten times a second.

    Problems and notices scroll above the bars. `ncols` fixes the width, which is the
    terminal's own otherwise.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        now: Callable[[], datetime],
        utf8: bool = True,
        verbose: bool = False,
        ncols: int | None = None,
    ) -> None:
        self._stream = stream
        self._narrator = Narrator()
        self._now = now
        self._utf8 = utf8
        self._levels: set[Level] = {"problem"}
        if verbose:
            self._levels |= {"outcome", "detail"}
        self._began = self._drawn = self._files_drawn = now()
        self._finished = 0
        self._bytes = 0
        self._speed = _Speed()
        self._downloading = 0
        self._broken = False
        self._ncols = ncols
        self._rows: tuple[Row, ...] = ()

    def event(self, event: Event, tally: Tally) -> None:
        """Let a problem scroll by; draw, if it is time."""
        self._finished += isinstance(event, OutputsSaved | TaskAbandoned)
        line = self._narrator.tell(event, tally, self._now)
        with self._drawing():
            if line and line.level in self._levels:
                self._above(self._spoken(line))
            moment = self._now()
            if not self._rows or moment - self._drawn >= _REDRAW:
                self._draw(tally, moment)

    def notice(self, text: str) -> None:
        """Let it scroll by above the bars."""
        with self._drawing():
            self._above(f"  {text}")

    def received(self, count: int) -> None:
        """Count the bytes; draw their bar, if it is time."""
        with self._drawing():
            self._bytes += count
            moment = self._now()
            if self._rows and moment - self._files_drawn >= _REDRAW:
                self._show_bytes(moment)
                self._rows[-1].refresh()

    def alive(self, tally: Tally) -> None:
        """Draw what the last events left undrawn."""
        with self._drawing():
            moment = self._now()
            if moment - self._drawn >= _REDRAW:
                self._draw(tally, moment)

    def close(self) -> None:
        """Take the bars away, top to bottom, and leave the cursor where they began."""
        with self._drawing():
            for row in self._rows:
                row.close()
            if not self._broken:
                self._stream.write("\r")
                self._stream.flush()
        self._end()

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """One thread at a time; a broken pipe ends the display, not the run."""
        with Row.lock:
            try:
                yield
            except (OSError, ValueError):
                self._end()

    def _end(self) -> None:
        self._broken = True
        for row in self._rows:
            row.disable = True

    def _spoken(self, line: Line) -> str:
        if line.level != "problem":
            return f"  {line}"
        cross = "✗" if self._utf8 else "x"
        return f"  {cross} {line.word.lower()}  {line.text}"

    def _above(self, text: str) -> None:
        """Print a line where the bars were, and the bars below it."""
        if self._broken:
            return
        for row in self._rows:
            row.clear(nolock=True)
        self._stream.write(terminal.plain(terminal.safe(text), utf8=self._utf8) + "\n")
        self._stream.flush()
        for row in self._rows:
            row.refresh()

    def _draw(self, tally: Tally, moment: datetime) -> None:
        if self._broken:
            return
        if not self._rows:
            self._rows = tuple(map(self._row, _NAMES))
        self._drawn = moment
        self._show_clips(tally, moment)
        self._show_spend(tally)
        self._show_files(tally)
        self._show_bytes(moment)
        columns = max(terminal.width(row.amount) for row in self._rows)
        for row in self._rows:
            row.amount_columns = columns
            row.refresh()

    def _show_clips(self, tally: Tally, moment: datetime) -> None:
        counts, row = tally.counts, self._rows[0]
        row.fill(counts["done"], tally.total)
        row.amount = f"{counts['done']:,}/{tally.total:,}"
        bad = ("failed", "rejected", "lost", "uncertain")
        parts = [(1, f"{counts['rendering']:,} rendering")]
        if counts["pending"]:
            parts.append((3, f"{counts['pending']:,} waiting"))
        parts += [(0, f"{counts[name]:,} {name}") for name in bad if counts[name]]
        if self._finished and tally.left:
            pace = (moment - self._began).total_seconds() / self._finished
            parts.append((2, f"{about(pace * tally.left)} left"))
        row.parts = tuple(parts)

    def _show_spend(self, tally: Tally) -> None:
        ledger, row = tally.ledger, self._rows[1]
        row.fill(ledger.committed, ledger.cap or 0)
        of = "" if ledger.cap is None else f" of {dollars(ledger.cap)}"
        row.amount = f"{dollars(ledger.committed)}{of}"
        parts = (
            (3, ledger.spent, "spent"),
            (2, ledger.in_flight, "in flight"),
            (0, ledger.uncertain, "uncertain"),
            (1, ledger.refundable, "refund expected"),
        )
        row.parts = tuple(
            (rank, f"{dollars(amount)} {name}")
            for rank, amount, name in parts
            if amount
        )

    def _show_files(self, tally: Tally) -> None:
        counts = tally.counts
        self._downloading = counts["downloading"]
        self._rows[2].fill(counts["done"], counts["done"] + self._downloading)

    def _show_bytes(self, moment: datetime) -> None:
        row = self._rows[2]
        self._files_drawn = moment
        row.amount = size(self._bytes)
        speed = self._speed.at(moment, self._bytes)
        parts = [(0, f"{self._downloading:,} downloading")] if self._downloading else []
        if speed:
            parts.append((1, f"{size(speed)}/s"))
        row.parts = tuple(parts)

    def _row(self, name: str) -> Row:
        row = Row(
            desc=name,
            total=1,
            leave=False,
            file=self._stream,
            ncols=self._ncols,
            dynamic_ncols=self._ncols is None,
            ascii=False if self._utf8 else " #",
            position=_NAMES.index(name),
        )
        row.between = " · " if self._utf8 else ", "
        return row


class _Speed:
    """Bytes a second over the last few seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[datetime, int]] = deque()

    def at(self, moment: datetime, total: int) -> float:
        """The speed, now that so many bytes have arrived."""
        self._seen.append((moment, total))
        while len(self._seen) > 2 and moment - self._seen[0][0] > _SPEED_OVER:  # noqa: PLR2004
            self._seen.popleft()
        since, before = self._seen[0]
        seconds = (moment - since).total_seconds()
        return (total - before) / seconds if seconds > 0 else 0.0
