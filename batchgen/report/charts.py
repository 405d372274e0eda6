"""Charts as static SVG, each with the same numbers as a table. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from batchgen.money import Micros, dollars
from batchgen.report.timeline import Timeline, Times, in_flight, median, thinned
from batchgen.terminal import cut
from batchgen.words import clips as counted
from batchgen.words import duration

_WIDTH, _LEFT, _RIGHT = 520, 8, 512
_MOST_BARS = 16
_MOST_ROWS = 80
_BINS = 12
_LEGEND = (("queue", "queue"), ("bar", "render"), ("fetch", "download"))


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture and its table; `svg` is markup made here, everything in it escaped."""

    title: str
    svg: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def charts(
    spend: Sequence[tuple[str, Sequence[tuple[str, int, Micros]]]],
    times: Timeline,
    cap: Micros | None,
) -> list[Chart]:
    """Everything worth a picture.

    Args:
        spend: for each axis its values, how many clips they have and their cost.
        times: of the run.
        cap: of the run, if it has one.
    """
    found = [_spend(times, cap)] if times.money else []
    rendered = [one.render for one in times.clips.values() if one.render is not None]
    if rendered:
        found += [_gantt(times), _spread(rendered)]
    names = [(f"Spend by {name.replace('_', ' ')}", rows) for name, rows in spend]
    return found + [_bars(title, rows) for title, rows in names if rows]


def _bars(title: str, rows: Sequence[tuple[str, int, Micros]]) -> Chart:
    shown = list(rows[:_MOST_BARS])
    most = max((cost for _, _, cost in shown), default=0) or 1
    parts = []
    for number, (name, count, cost) in enumerate(shown):
        top = number * 34
        wide = round((_RIGHT - _LEFT) * cost / most, 1)
        parts += [
            _text(_LEFT, top + 12, cut(name or "none", 36)),
            _text(_RIGHT, top + 12, f"{counted(count)}   {dollars(cost)}", "end"),
            _beam("back", top + 18, _RIGHT - _LEFT),
            _beam("bar", top + 18, wide),
        ]
    more = len(rows) - len(shown)
    note = f"The {len(shown)} dearest; {more:,} more in the table." if more > 0 else ""
    table = [(name or "none", f"{n:,}", dollars(cost)) for name, n, cost in rows[:200]]
    svg = _svg(title, len(shown) * 34, parts)
    return Chart(title, svg, ("value", "clips", "cost"), table, note)


def _spend(times: Timeline, cap: Micros | None) -> Chart:
    title = "Spend against the cap" if cap is not None else "Spend over time"
    most = max([*(total for _, _, total in times.money), cap or 0]) or 1
    length = times.length or 1.0
    low, high = 190.0, 24.0

    def line(column: int) -> str:
        points = [(0.0, 0.0), *((row[0], float(row[column])) for row in times.money)]
        return _steps(
            [
                (_across(second, length), low - (low - high) * value / most)
                for second, value in [*thinned(points, 300), (length, points[-1][1])]
            ]
        )

    parts = [
        f'<path class="area" d="M{_LEFT},{low} {line(2)} V{low} Z"/>',
        f'<path class="line" d="M{_LEFT},{low} {line(1)}"/>',
        f'<path class="axis" d="M{_LEFT},{low} H{_RIGHT}"/>',
        *_ticks(length, low),
    ]
    if cap is not None:
        at = low - (low - high) * cap / most
        parts.append(f'<path class="cap" d="M{_LEFT},{at:.1f} H{_RIGHT}"/>')
        parts.append(_text(_RIGHT, at - 6, f"cap {dollars(cap)}", "end"))
    _, spent, committed = times.money[-1]
    rows = [("spent", dollars(spent)), ("held against the cap", dollars(committed))]
    if cap is not None:
        rows += [("cap", dollars(cap)), ("left", dollars(cap - committed))]
    note = "Line: spent. Shade: with what is in flight, in doubt or to be refunded."
    return Chart(title, _svg(title, 214, parts), ("money", "amount"), rows, note)


def _spread(seconds: Sequence[float]) -> Chart:
    title = "Render time"
    low, high = min(seconds), max(seconds)
    width = (high - low) / _BINS or 1.0
    bins = [0] * _BINS
    for one in seconds:
        bins[min(int((one - low) / width), _BINS - 1)] += 1
    most, step = max(bins), (_RIGHT - _LEFT) / _BINS
    parts = []
    for number, count in enumerate(bins):
        tall = 130 * count / most
        at = _LEFT + number * step
        parts.append(
            f'<rect class="bar" x="{at + 2:.1f}" y="{150 - tall:.1f}" '
            f'width="{step - 4:.1f}" height="{tall:.1f}" rx="3"/>'
        )
        if count:
            parts.append(_text(at + step / 2, 144 - tall, f"{count:,}", "middle"))
    parts += [
        f'<path class="axis" d="M{_LEFT},150.5 H{_RIGHT}"/>',
        _text(_LEFT, 168, _short(low)),
        _text(_RIGHT, 168, _short(high), "end"),
    ]
    rows = [
        ("fastest", _short(low)),
        ("median", _short(median(seconds))),
        ("slowest", _short(high)),
    ]
    return Chart(title, _svg(title, 174, parts), ("clip", "time"), rows)


def _gantt(times: Timeline) -> Chart:
    title = "Clips over time"
    length = times.length or 1.0
    ordered = sorted(times.clips.values(), key=lambda one: one.started)
    shown = ordered if len(ordered) <= _MOST_ROWS else []
    flight = in_flight(ordered, length)
    most = max(count for _, count in flight) or 1
    parts, top = [], 70.0
    points = [
        (_across(second, length), 62 - 44 * count / most)
        for second, count in thinned(flight, 300)
    ]
    parts.append(f'<path class="area" d="M{_LEFT},62 {_steps(points)} V62 Z"/>')
    parts.append(_text(_LEFT, 12, f"at once: up to {most:,}"))
    high = min(8.0, 400 / max(len(shown), 1))
    for number, (name, text) in enumerate(_LEGEND if shown else ()):
        at = _RIGHT - 74 * (len(_LEGEND) - number) + 8
        parts.append(f'<rect class="{name}" x="{at}" y="4" width="9" height="9"/>')
        parts.append(_text(at + 13, 12, text))
    for one in shown:
        parts += _row(one, length, top, high)
        top += high
    parts += _ticks(length, top + 4)
    phases = (
        ("queue", [one.queue for one in ordered]),
        ("render", [one.render for one in ordered]),
        ("download", [one.download for one in ordered]),
    )
    rows = [_phase(name, values) for name, values in phases]
    note = "" if shown else f"{len(ordered):,} clips are too many for a row each."
    head = ("phase", "median", "longest")
    return Chart(title, _svg(title, top + 28, parts), head, rows, note)


def _row(one: Times, length: float, top: float, high: float) -> Iterable[str]:
    if one.completed is None:
        return
    begin = one.completed - (one.render or 0.0)
    end = one.completed if one.saved is None else one.saved
    spans = (
        ("queue", one.started, begin),
        ("bar", begin, one.completed),
        ("fetch", one.completed, end),
    )
    for name, since, until in spans:
        wide = _across(until, length) - _across(since, length)
        if wide > 0:
            yield (
                f'<rect class="{name}" x="{_across(since, length):.1f}" y="{top:.1f}" '
                f'width="{max(wide, 0.8):.1f}" height="{max(high - 1.5, 1):.1f}"/>'
            )


def _phase(name: str, values: Iterable[float | None]) -> Sequence[str]:
    known = [value for value in values if value is not None]
    return (name, _short(median(known)), _short(max(known, default=0.0)))


def _ticks(length: float, y: float) -> Iterable[str]:
    yield _text(_LEFT, y + 18, "0")
    yield _text((_LEFT + _RIGHT) / 2, y + 18, _short(length / 2), "middle")
    yield _text(_RIGHT, y + 18, _short(length), "end")


def _across(second: float, length: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * min(max(second / length, 0.0), 1.0)


def _steps(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"H{x:.1f} V{y:.1f}" for x, y in points)


def _short(seconds: float) -> str:
    return f"{seconds:.1f}s" if seconds < 10 else duration(seconds)  # noqa: PLR2004 - a tenth matters below ten


def _beam(name: str, y: float, width: float) -> str:
    place = f'x="{_LEFT}" y="{y}" width="{width}"'
    return f'<rect class="{name}" {place} height="7" rx="3.5"/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f"<text {place}>{escape(text)}</text>"


def _svg(title: str, height: float, parts: Iterable[str]) -> str:
    head = f'viewBox="0 0 {_WIDTH} {height:.0f}" role="img"'
    return f'<svg {head} aria-label="{escape(title)}">{"".join(parts)}</svg>'
