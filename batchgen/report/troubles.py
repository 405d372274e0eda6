"""What went wrong, grouped by reason, with the command that tries again. Pure."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from batchgen.patterns import pattern
from batchgen.report.book import Book, Clip
from batchgen.words import clips as counted

_PLAIN = pattern(r"[A-Za-z0-9._-]+")
_MOST_NAMES = 6

_ORDER = (
    "uncertain",
    "lost",
    "wrong",
    "failed",
    "rejected",
    "flagged",
    "downloading",
    "rendering",
    "pending",
    "removed",
)
_ADVICE = {
    "uncertain": "May have been bought without an answer reaching us. It counts as "
    "spent and is not bought again by itself. Once the history is conclusive:",
    "lost": "Paid, and no longer to be fetched. Only this buys it a second time:",
    "wrong": "Paid, but not what was ordered. Look first; this buys it a second time:",
    "failed": "The service gave up and pays back. This tries again:",
    "rejected": "The same request would be refused again: edit it first, or insist:",
    "flagged": "Marked by the service's filter. The file is there: have a look.",
    "downloading": "Paid for and not collected. This fetches it, at no extra cost:",
    "rendering": "Paid for and in the making. This collects it, at no extra cost:",
    "pending": "Not bought yet. This goes on:",
    "removed": "Bought earlier, and not part of the last order: the manifest was "
    "edited, or only a part of it was run. Nothing is to be done.",
}
_FLAGS = {
    "uncertain": " --retry absent",
    "lost": " --again",
    "wrong": " --again",
    "rejected": " --retry rejected",
}
_SILENT = ("flagged", "removed")


@dataclass(frozen=True, slots=True)
class Trouble:
    """Clips that share a reason.

    Attributes:
        status: the word, or `wrong` or `flagged` for clips that are done.
        reason: kind and message as the service told them.
        advice: what it means and what to do.
        command: does it for exactly these clips; empty if there is nothing to do.
        clips: which.
        run: of which run, named where there are several.
    """

    status: str
    reason: str
    advice: str
    command: str
    clips: Sequence[Clip]
    run: str

    @property
    def head(self) -> str:
        """`2 failed clips`."""
        return counted(len(self.clips), self.status)


def troubles(book: Book) -> list[Trouble]:
    """Every group, the gravest first."""
    groups: dict[tuple[str, str], list[Clip]] = {}
    totals: dict[str, int] = {}
    for clip in book.clips:
        for status, reason in _reasons(clip):
            groups.setdefault((status, reason), []).append(clip)
            totals[status] = totals.get(status, 0) + 1
    ordered = sorted(groups.items(), key=lambda item: _ORDER.index(item[0][0]))
    return [
        Trouble(
            status,
            reason,
            _ADVICE[status],
            _command(book, status, found, whole=len(found) == totals[status]),
            found,
            book.run,
        )
        for (status, reason), found in ordered
    ]


def _reasons(clip: Clip) -> Iterable[tuple[str, str]]:
    kind, message = clip.reason
    if clip.status == "done":
        if clip.wrong:
            yield "wrong", "; ".join(clip.wrong)
        if clip.state.flagged:
            yield "flagged", ""
    else:
        known = (kind if kind != clip.status else "", message.rstrip("."))
        yield clip.status, ": ".join(filter(None, known))


def _command(book: Book, status: str, clips: Sequence[Clip], *, whole: bool) -> str:
    if status in _SILENT:
        return ""
    if status in ("downloading", "rendering", "pending") and whole:
        return book.command
    chosen = f" -s status={status}"
    if not whole or status == "wrong":
        # A hash is exact where a name could be a pattern, and short where many are.
        plain = all(_PLAIN.fullmatch(clip.task.slug) for clip in clips)
        names = plain and len(clips) <= _MOST_NAMES
        words = [clip.task.slug if names else clip.hash for clip in clips]
        chosen = "".join(f" -s {shlex.quote(word)}" for word in words)
    return f"{book.command}{chosen}{_FLAGS.get(status, '')}"
