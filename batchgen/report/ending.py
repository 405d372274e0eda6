"""How a run ends: its exit code and the word for it. Pure."""

from collections.abc import Mapping
from typing import NamedTuple


class Ending(NamedTuple):
    """The exit code and its word, one of the reasons in `--json`."""

    exit: int
    reason: str


_STOPS = {"disk": 8, "state": 7, "bug": 70, "key": 4, "credit": 4, "network": 4}
_TOLD = ("budget", "deadline", "breaker")
_UNFINISHED = ("pending", "rendering", "downloading")


def exit_code(
    counts: Mapping[str, int],
    *stops: str | None,
    signal: int = 0,
    idle: bool = False,
) -> Ending:
    """What a run's tasks, and the reasons why it stopped, amount to.

    Args:
        counts: `tally.counts`.
        stops: why nothing more was bought, in any order; None says nothing.
        signal: the number of the signal, with the stop `interrupted`.
        idle: there was nothing to do from the start.
    """
    if "interrupted" in stops:
        return Ending(128 + (signal or 2), "interrupted")
    for reason, code in _STOPS.items():
        if reason in stops:
            return Ending(code, reason)
    return _by_tasks(counts, stops, idle=idle)


def _by_tasks(
    counts: Mapping[str, int], stops: tuple[str | None, ...], *, idle: bool
) -> Ending:
    if counts["uncertain"]:
        return Ending(6, "uncertain")
    if counts["lost"]:
        return Ending(6, "some_failed")
    if any(counts[name] for name in _UNFINISHED):
        told = (reason for reason in _TOLD if reason in stops)
        return Ending(3, next(told, "still_rendering"))
    if counts["failed"] or counts["rejected"]:
        return Ending(1, "some_failed")
    return Ending(0, "nothing_to_do" if idle else "done")
