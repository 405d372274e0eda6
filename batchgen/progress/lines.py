"""Plain lines: for cron, for pipes and for the run's log."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TextIO

from batchgen import terminal
from batchgen.events import Event
from batchgen.progress.log import Log
from batchgen.report.lines import Level, Narrator, alive
from batchgen.tally import Tally

_QUIET = timedelta(minutes=5)


class Lines:
    """One line an outcome, for cron, pipes and the run's log.

    When quiet it keeps start, problems, end, and notices other than waits.
    """

    def __init__(
        self,
        stream: TextIO | Log,
        narrator: Narrator,
        *,
        now: Callable[[], datetime],
        utf8: bool = True,
        quiet: bool = False,
        verbose: bool = False,
        timestamps: bool = True,
    ) -> None:
        self._stream: TextIO | Log | None = stream
        self._narrator = narrator
        self._now = now
        self._utf8 = utf8
        self._levels = levels(quiet=quiet, verbose=verbose)
        self._timestamps = timestamps
        self._heard = now()

    def event(self, event: Event, tally: Tally) -> None:
        """Write the line of an event, if it has one."""
        line = self._narrator.tell(event, tally, self._now)
        if line and line.level in self._levels:
            self._write(str(line))

    def notice(self, text: str) -> None:
        """Write what is no event."""
        if "outcome" in self._levels or not text.startswith("wait"):
            self._write(text)

    def received(self, count: int) -> None:
        """Bytes are not worth a line."""

    def alive(self, tally: Tally) -> None:
        """Write a sign of life if nothing was written for five minutes."""
        if "outcome" in self._levels and self._now() - self._heard >= _QUIET:
            self._write(str(alive(tally)))

    def close(self) -> None:
        """Write nothing more."""
        self._stream = None

    def _write(self, text: str) -> None:
        moment = self._heard = self._now()
        stamp = f"{moment.isoformat(timespec='seconds')} " if self._timestamps else ""
        line = terminal.plain(f"{stamp}{terminal.safe(text)}\n", utf8=self._utf8)
        if self._stream is None:
            return
        try:
            self._stream.write(line)
            self._stream.flush()
        except (OSError, ValueError):
            self._stream = None  # a broken pipe ends the display, not the run


def levels(*, quiet: bool, verbose: bool) -> frozenset[Level]:
    """Which lines are shown."""
    shown: set[Level] = {"frame", "problem"}
    if not quiet:
        shown.add("outcome")
    if verbose and not quiet:
        shown.add("detail")
    return frozenset(shown)
