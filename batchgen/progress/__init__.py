"""Observers of a run: three bars on a terminal, plain lines everywhere else."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TextIO

from batchgen.events import Event
from batchgen.money import Micros
from batchgen.progress.lines import Lines
from batchgen.progress.log import Log
from batchgen.recorder import Observer
from batchgen.report.lines import Narrator
from batchgen.tally import Tally

__all__ = ["Lines", "Observers", "observers"]


def observers(  # noqa: PLR0913 - each is a fact of the terminal or of the run
    stream: TextIO,
    *,
    is_tty: bool,
    utf8: bool,
    quiet: bool,
    verbose: bool,
    log: TextIO | Log,
    now: Callable[[], datetime],
    timestamps: bool,
    run: str = "",
    cost: Micros | None = None,
) -> "Observers":
    """Bars or lines on the stream, and always lines in the log.

    Args:
        stream: stderr, usually.
        is_tty: whether the stream is a terminal that can move its cursor.
        utf8: whether the stream takes any letter.
        quiet: only start, problems and end; no bars.
        verbose: also every submission.
        log: the run's log, open for appending; whoever opened it closes it.
        now: the time of day, in the zone that lines show.
        timestamps: whether lines on the stream begin with the time.
        run: the run's name, for the first line.
        cost: what this session would buy, for the first line.
    """
    shown: Observer
    narrator = Narrator(run, cost)
    if is_tty and not quiet:
        from batchgen.progress.bars import Bars  # noqa: PLC0415 - for terminals alone

        shown = Bars(stream, utf8=utf8, verbose=verbose, now=now)
    else:
        shown = Lines(
            stream,
            narrator,
            utf8=utf8,
            quiet=quiet,
            verbose=verbose,
            now=now,
            timestamps=timestamps,
        )
    kept = Lines(log, narrator, verbose=verbose, now=now)
    return Observers((shown, kept))


class Observers:
    """Passes everything on, in order."""

    def __init__(self, them: Sequence[Observer]) -> None:
        self._them = tuple(them)

    def event(self, event: Event, tally: Tally) -> None:
        """An event was applied to the tally."""
        for one in self._them:
            one.event(event, tally)

    def notice(self, text: str) -> None:
        """Something that is no event; a line of it at a time."""
        for line in text.splitlines():
            for one in self._them:
                one.notice(line)

    def received(self, count: int) -> None:
        """Bytes of a download arrived; called from any thread."""
        for one in self._them:
            one.received(count)

    def alive(self, tally: Tally) -> None:
        """Time passes."""
        for one in self._them:
            one.alive(tally)

    def close(self) -> None:
        """The session is over."""
        for one in self._them:
            one.close()
