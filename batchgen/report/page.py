"""report.html: one page beside the clips, which needs no network. Pure.

Everything from outside reaches the page in one of two ways: as text that jinja2
escapes, or inside a JSON block in which `<` cannot occur.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from batchgen.money import dollars, usd
from batchgen.quote import NO_SEED
from batchgen.report.book import REMOVED, Axes, Book, Clip, axes
from batchgen.report.charts import Chart, charts
from batchgen.report.troubles import Trouble, troubles
from batchgen.terminal import cut
from batchgen.words import clips as counted
from batchgen.words import duration, money

_ATTENTION = ("failed", "rejected", "lost", "uncertain", "wrong", "flagged")
_NOT_SHOWN = ("prompt", "multi_prompt")
_LONGEST = 500


def page(books: Sequence[Book], *, version: str, made: str) -> str:
    """The whole file.

    Args:
        books: the runs on it, one or more.
        version: of batchgen, for the footer.
        made: when, for the footer.
    """
    found = [trouble for book in books for trouble in troubles(book)]
    varied = axes(books)
    names = [name for name, _ in varied.all]
    script, style = _asset("page.js"), _asset("page.css")
    text = _template().render(
        title=" + ".join(book.run for book in books),
        policy=_policy(script),
        style=Markup(style),  # noqa: S704 - a file of this package
        script=Markup(script),  # noqa: S704 - a file of this package
        data=_json_block(_document(books, varied)),
        books=[_Section.of(book, names) for book in books],
        several=len(books) > 1,
        final=books[0].final if len(books) == 1 else "",
        no_seed=NO_SEED,
        head=_head(books, found),
        troubles=found,
        attention=sum(len(one.clips) for one in found if one.status in _ATTENTION),
        links=list(_links(books)),
        version=version,
        made=made,
    )
    # Half a surrogate cannot be written to a file.
    return text.encode("utf-8", "replace").decode()


@dataclass(frozen=True, slots=True)
class _Section:
    """What stands about one run below its charts, and in the footer."""

    run: str
    charts: Sequence[Chart]
    facts: Sequence[tuple[str, str]]

    @classmethod
    def of(cls, book: Book, names: Sequence[str]) -> "_Section":
        return cls(
            book.run,
            charts(list(book.spend(names)), book.times, _cap(book)),
            list(_facts(book)),
        )


def _facts(book: Book) -> Iterator[tuple[str, str]]:
    """The small print that makes a page provable."""
    session = book.tally.session
    models = dict.fromkeys(clip.task.model for clip in book.clips)
    seconds = sum(clip.task.seconds for clip in book.clips if clip.cost)
    cost = sum(clip.cost for clip in book.clips)
    yield "manifest", session.manifest[:12] if session else ""
    yield "plan", book.summary.get("plan", "")
    yield "model", ", ".join(models)
    if seconds and cost:
        yield "price", f"{dollars(cost // seconds)} a second of video, as charged"
    if book.elements:
        stands = [one.status for one in book.elements if one.status != REMOVED]
        spent = dollars(sum(one.cost for one in book.elements))
        yield "elements", f"{stands.count('done')} of {len(stands)} made, {spent}"
    if any(clip.remote for clip in book.clips):
        yield "clips in", ", ".join(_stores(book))
        yield "links open until", book.until
    yield "bought at", session.endpoint if session else ""
    yield "bought with", session.tool if session else ""
    yield "started", book.summary["started_at"].replace("T", " ").rstrip("Z")


def _stores(book: Book) -> list[str]:
    return list(dict.fromkeys(c.state.files[0].store for c in book.clips if c.remote))


def _head(books: Sequence[Book], found: Sequence[Trouble]) -> dict[str, Any]:
    """The line at the top: counts, money, time."""
    counts = [book.summary["counts"] for book in books]
    caps = [_cap(book) for book in books]
    spent = sum(usd(book.summary["spent_usd"]) for book in books)
    cap = sum(amount for amount in caps if amount is not None)
    capped = None not in caps and cap
    bad = {
        name: sum(len(one.clips) for one in found if one.status == name)
        for name in ("failed", "rejected", "lost", "uncertain", "wrong", "flagged")
    }
    waiting = ("pending", "rendering", "downloading")
    return {
        "done": sum(count["done"] for count in counts),
        "total": sum(count["total"] for count in counts),
        "bad": [(name, n) for name, n in bad.items() if n or name == "failed"],
        "left": sum(count[name] for count in counts for name in waiting),
        "spent": dollars(spent),
        "cap": dollars(cap) if capped else "",
        "share": min(100, round(100 * spent / cap)) if capped else 0,
        "took": duration(sum(book.times.length for book in books)),
        "video": duration(sum(book.summary["seconds_of_video"] for book in books)),
        "refund": "".join(
            money(book.summary["refund_expected_usd"])
            for book in books
            if len(books) == 1 and book.summary["refund_expected_usd"]
        ),
        "make_believe": any(
            book.tally.session and book.tally.session.endpoint == "sandbox"
            for book in books
        ),
    }


def _links(books: Sequence[Book]) -> Iterator[tuple[str, str, str, str]]:
    """Without JavaScript: slug, status, path, note."""
    for book in books:
        for clip in book.clips:
            address = quote(f"{book.base}{clip.file}") if clip.file else ""
            note = clip.reason[1]
            if clip.remote:
                address, note = clip.link, clip.file
            yield clip.task.slug, clip.status, address, note


class _Words:
    """Texts that many clips share, written once."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._seen: dict[str, int] = {}

    def __call__(self, value: Any) -> int:
        key = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        number = self._seen.setdefault(key, len(self.all))
        if number == len(self.all):
            self.all.append(value)
        return number


def _document(books: Sequence[Book], varied: Axes) -> dict[str, Any]:
    names = varied.all
    prompts, settings = _Words(), _Words()
    rank = {name: {v: n for n, v in enumerate(values)} for name, values in names}
    rows = []
    for number, book in enumerate(books):
        for clip in book.clips:
            labels = {"run": book.run, **clip.labels} if len(books) > 1 else clip.labels
            row = _row(book, clip)
            row["r"] = number
            row["l"] = [rank[name].get(labels.get(name, ""), -1) for name, _ in names]
            row["q"] = prompts(_prompt(clip))
            row["x"] = settings(dict(_settings(clip)))
            rows.append({key: value for key, value in row.items() if value != ""})
    started = [book.records[0].at if book.records else "" for book in books]
    return {
        "key": " ".join(f"{b.run} {at}" for b, at in zip(books, started, strict=True)),
        "runs": [{"name": book.run, "base": book.base} for book in books],
        "axes": names,
        "named": varied.named,
        "prompts": prompts.all,
        "settings": settings.all,
        "clips": rows,
    }


def _row(book: Book, clip: Clip) -> dict[str, Any]:
    """One clip; what is empty is left out. Money in micro-dollars, times in seconds."""
    times = book.times.clips.get(clip.task.id)
    kind, message = clip.reason
    media = clip.media
    ratio = str(clip.asked.get("aspect_ratio", "16:9"))
    return {
        "s": clip.task.slug,
        "h": clip.hash,
        "t": clip.status,
        "a": f"{media.width}:{media.height}" if media and media.height else ratio,
        "d": clip.task.seconds,
        "c": clip.cost,
        "n": clip.attempts or "",
        "k": clip.task.take if clip.task.take > 1 else "",
        "m": clip.task.model,
        "f": clip.file,
        "j": clip.link,
        "v": 1 if clip.remote else "",
        "p": media.poster if media else "",
        "b": clip.state.files[0].bytes if clip.file else "",
        "i": clip.state.prediction,
        "e": [kind, message] if kind else "",
        "w": "; ".join(clip.wrong),
        "g": 1 if clip.state.flagged else "",
        "y": _rounded(times.render) if times else "",
        "u": _rounded(times.queue) if times else "",
        "o": _rounded(times.download) if times else "",
        "z": round(book.times.finished.get(clip.task.id, 0)) or "",
    }


def _settings(clip: Clip) -> Iterator[tuple[str, Any]]:
    """What was asked for beside the prompt; a picture sent along is only hinted at."""
    for name, value in clip.asked.items():
        if name in _NOT_SHOWN or value in ("", [], None):
            continue
        told = value if isinstance(value, (bool, int, float)) else _plain(value)
        yield name, told if not isinstance(told, str) else cut(told, _LONGEST)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _rounded(seconds: float | None) -> float | str:
    return "" if seconds is None else round(seconds, 1)


def _prompt(clip: Clip) -> str:
    prompt = clip.asked.get("prompt") or ""
    scenes = clip.asked.get("multi_prompt") or ()
    told = [
        f"{number}. {scene.get('prompt', '')} ({scene.get('duration', '?')} s)"
        for number, scene in enumerate(scenes, 1)
        if isinstance(scene, dict)
    ]
    return "\n".join(filter(None, (str(prompt), *told)))


def _cap(book: Book) -> int | None:
    cap = book.summary["budget_usd"]
    return None if cap is None else usd(cap)


def _json_block(document: Any) -> Markup:
    """JSON that cannot end the block it stands in, whatever it says."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)  # noqa: S704 - no markup left in it


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; "
        "style-src 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self'"
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"clips": counted, "dollars": dollars}
    return environment.from_string(_asset("page.html"))


@cache
def _asset(name: str) -> str:
    return files("batchgen.report").joinpath(name).read_text(encoding="utf-8")
