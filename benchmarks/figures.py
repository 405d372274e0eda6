"""One measured figure, the table of many, and how a benchmark is run by itself."""

import argparse
import compileall
import json
import os
import platform
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class Skipped(Exception):
    """Something that a benchmark needs is not installed; the message says what."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured, beside a peer or against a bound of its own.

    Attributes:
        target: the target's number, like P5.
        what: what was measured, with its size.
        ours: our figure, in `unit`.
        bound: on the ratio ours / theirs if there is a peer, else on `ours`; None where
            the figure is only told.
        beyond: the better figure to go for, measured in the same way.
        peer: who did the same work in the same call; empty without one.
        theirs: the peer's figure, in the same unit.
        more_is_better: whether the bound is a lower one.
    """

    target: str
    what: str
    ours: float
    unit: str
    bound: float | None
    beyond: float | None = None
    peer: str = ""
    theirs: float | None = None
    more_is_better: bool = False

    @property
    def ratio(self) -> float | None:
        """Ours over the peer's."""
        if self.theirs is None:
            return None
        return self.ours / self.theirs if self.theirs else float("inf")

    @property
    def judged(self) -> float:
        """What stands against the bounds."""
        return self.ours if self.ratio is None else self.ratio

    @property
    def ok(self) -> bool:
        """Whether the bound is kept."""
        return self.bound is None or self._keeps(self.bound)

    @property
    def beyond_ok(self) -> bool:
        """Whether the better bound is kept, too."""
        return self.beyond is not None and self._keeps(self.beyond)

    def _keeps(self, bound: float) -> bool:
        return self.judged >= bound if self.more_is_better else self.judged <= bound


Measure = Callable[..., Iterable[Figure]]


@dataclass(slots=True)
class Outcome:
    """What one benchmark gave: figures, and why there are no more of them."""

    name: str
    figures: list[Figure] = field(default_factory=list)
    skipped: str = ""
    crashed: str = ""

    @classmethod
    def of(cls, name: str, measure: Measure, *, quick: bool) -> "Outcome":
        """Run a benchmark in this process; what goes wrong is told on stderr."""
        found = cls(name)
        try:
            for figure in measure(quick=quick):
                found.figures.append(figure)
                print(f"{name}: {line(figure)}", file=sys.stderr, flush=True)
        except Skipped as reason:
            found.skipped = str(reason) or "something is not installed"
        except Exception as error:  # noqa: BLE001 - shown in the table, and exits with 1
            traceback.print_exc()
            found.crashed = f"{type(error).__name__}: {error}"
        return found

    @classmethod
    def parse(cls, text: str) -> "Outcome":
        """Read what `as_json` wrote."""
        data = json.loads(text)
        figures = [Figure(**one) for one in data.pop("figures")]
        return cls(figures=figures, **data)

    def as_json(self) -> str:
        """All of it, on one line."""
        return json.dumps(asdict(self))


def passed(outcomes: Iterable[Outcome], *, quick: bool) -> bool:
    """Whether nothing crashed, and every bound is kept; quick runs are not judged."""
    return all(
        not one.crashed and (quick or all(figure.ok for figure in one.figures))
        for one in outcomes
    )


def line(figure: Figure) -> str:
    """One figure in words."""
    peer = "" if figure.theirs is None else f", {figure.peer} {short(figure.theirs)}"
    return f"{figure.what}: {short(figure.ours)} {figure.unit}{peer}"


def short(value: float) -> str:
    """A number with three digits that count, or as many as it has before its dot."""
    if abs(value) >= 100:  # noqa: PLR2004 - three digits
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


HEAD = ("", "benchmark", "ours", "peer", "ratio", "bound", "beyond", "verdict")
_LEFT = (True, True, False, False, False, False, False, True)


def table(outcomes: Sequence[Outcome], *, quick: bool) -> str:
    """All figures in the order of the targets, then what was skipped or crashed."""
    figures = [figure for one in outcomes for figure in one.figures]
    figures.sort(key=lambda figure: _number(figure.target))
    rows = [HEAD, *(_row(figure, quick=quick) for figure in figures)]
    for one in outcomes:
        if one.skipped or one.crashed:
            verdict = "CRASHED: " + one.crashed if one.crashed else one.skipped
            rows.append(("", one.name, "", "", "", "", "", verdict))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_padded(row, widths) for row in rows)


def machine() -> str:
    """Where and when it was measured."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    python = f"{platform.python_implementation()} {platform.python_version()}"
    day = datetime.now(UTC).date().isoformat()
    return f"{cores or os.cpu_count()} cores, {platform.system()}, {python}, {day}"


def main(measure: Measure) -> None:
    """Run one benchmark by itself; exits with 1 if it is past a bound or crashes."""
    parser = argparse.ArgumentParser()
    flags(parser)
    asked = parser.parse_args()
    name = Path(sys.argv[0]).stem
    _compile()
    outcome = Outcome.of(name, measure, quick=asked.quick)
    print(outcome.as_json() if asked.json else table([outcome], quick=asked.quick))
    sys.exit(0 if passed([outcome], quick=asked.quick) else 1)


def _compile() -> None:
    """Compile the package, as an installation leaves it, whatever the shell says."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    compileall.compile_dir(Path(__file__).parents[1] / "batchgen", quiet=1)


def flags(parser: argparse.ArgumentParser) -> None:
    """What every run of benchmarks may be told."""
    quick = "little work, nothing judged: only to see that it works"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", action="store_true", help="one JSON document")


def document(outcomes: Iterable[Outcome], *, quick: bool) -> dict[str, Any]:
    """All outcomes as data, with the ratios and the verdicts worked out."""
    found = []
    for one in outcomes:
        figures = [
            {**asdict(figure), "ratio": figure.ratio, "ok": figure.ok or quick}
            for figure in one.figures
        ]
        found.append({**asdict(one), "figures": figures})
    return {"machine": machine(), "quick": quick, "benchmarks": found}


def _row(figure: Figure, *, quick: bool) -> tuple[str, ...]:
    of_peer = figure.ratio is not None
    sign = ">=" if figure.more_is_better else "<="
    suffix = " x" if of_peer else ""
    verdict = "beyond" if figure.beyond_ok else "ok" if figure.ok else "PAST ITS BOUND"
    if figure.bound is None:
        verdict = "only told"
    return (
        figure.target,
        figure.what,
        f"{short(figure.ours)} {figure.unit}",
        f"{figure.peer} {short(figure.theirs)}" if figure.theirs is not None else "",
        f"{short(figure.judged)} x" if of_peer else "",
        "" if figure.bound is None else f"{sign} {figure.bound:g}{suffix}",
        f"{sign} {figure.beyond:g}{suffix}" if figure.beyond is not None else "",
        "not judged" if quick else verdict,
    )


def _padded(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.ljust(width) if left else cell.rjust(width)
        for cell, width, left in zip(row, widths, _LEFT, strict=True)
    ]
    return "  ".join(cells).rstrip()


def _number(target: str) -> int:
    digits = target.lstrip("P")
    return int(digits) if digits.isdecimal() else 99
