"""What a person sees while a run is on: bars on a terminal, lines elsewhere."""

import io
import re
import resource
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from threading import Thread
from typing import TextIO

import pytest
from msgspec.structs import replace

from batchgen.events import (
    AttemptAbsent,
    AttemptAccepted,
    AttemptNotSent,
    AttemptRefused,
    AttemptStarted,
    AttemptUncertain,
    Event,
    OutputsMissing,
    OutputsSaved,
    PredictionCompleted,
    PredictionFailed,
    Repaired,
    SavedFile,
    SessionClosed,
    SessionOpened,
    TaskAbandoned,
    TaskPlanned,
    Window,
)
from batchgen.money import usd
from batchgen.progress import Lines, observers
from batchgen.progress.bars import Bars
from batchgen.progress.log import Log
from batchgen.progress.rows import fitting
from batchgen.report import Narrator
from batchgen.tally import Tally

PRICE = usd("2.10")
TWO = datetime(2026, 11, 22, 2, 0, 1, tzinfo=timezone(timedelta(hours=1)))
SLUGS = ("mug-de", "kettle-fr", "scale-it", "lamp-es", "夜ランプ")
IDS = {slug: f"{number:032x}" for number, slug in enumerate(SLUGS)}
OPENED = SessionOpened(
    tool="test",
    pid=1,
    host="here",
    cap=usd(400),
    concurrency=60,
    manifest="",
    endpoint="",
)
WINDOW = Window(since="2026-11-22T02:14:09Z", until="2026-11-22T02:14:39Z")


class Clock:
    """A time of day that moves only when told."""

    def __init__(self) -> None:
        self.moment = TWO

    def __call__(self) -> datetime:
        return self.moment

    def pass_by(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


class Screen(io.StringIO):
    """A terminal of a fixed width: it obeys returns, line feeds and cursor-up."""

    def rows(self) -> list[str]:
        cells: list[list[str]] = [[]]
        row = column = 0
        for piece in re.findall("\x1b\\[A|.|\n|\r", self.getvalue()):
            if piece == "\x1b[A":
                row -= 1
            elif piece == "\r":
                column = 0
            elif piece == "\n":
                row, column = row + 1, 0
                cells += [[]] * (row == len(cells))
            else:
                line = cells[row]
                line += [" "] * (column + 1 - len(line))
                line[column] = piece
                column += 1
        assert row >= 0
        self.cursor = (row, column)
        return ["".join(line).rstrip() for line in cells]


class Pipe(io.StringIO):
    """A stream whose reader leaves after so many writes."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.left = writes

    def write(self, text: str) -> int:
        self.left -= 1
        if self.left < 0:
            raise BrokenPipeError(32, "Broken pipe")
        return super().write(text)


class Run:
    """A tally, a clock, and an observer that is told of every event."""

    def __init__(self, clock: Clock, total: Sequence[str] = SLUGS) -> None:
        self.clock = clock
        self.tally = Tally()
        self.tally.want(IDS[slug] for slug in total)

    def tell(self, observer: Bars | Lines, *events: Event) -> None:
        for event in events:
            self.tally.apply(event)
            observer.event(event, self.tally)


def started(slug: str, attempt: int = 1) -> list[Event]:
    planned = TaskPlanned(
        task=IDS[slug],
        slug=slug,
        labels={},
        model="acme/video",
        input={},
        take=1,
        price=PRICE,
        seconds=5,
        output="x.mp4",
    )
    return [
        planned,
        AttemptStarted(task=IDS[slug], attempt=attempt, reserve=PRICE),
    ]


def accepted(slug: str, attempt: int = 1) -> list[Event]:
    took = AttemptAccepted(task=IDS[slug], attempt=attempt, prediction=f"p{attempt}")
    return [*started(slug, attempt), took]


def rendered(slug: str) -> Event:
    return PredictionCompleted(task=IDS[slug], attempt=1, outputs=())


def saved(slug: str, attempt: int = 1) -> Event:
    file = SavedFile(name="x.mp4", bytes=1, sha256="")
    return OutputsSaved(task=IDS[slug], attempt=attempt, files=(file,))


def broken(slug: str, attempt: int = 1) -> Event:
    return PredictionFailed(
        task=IDS[slug], attempt=attempt, kind="provider", message="overload", code=5003
    )


def given_up(slug: str) -> Event:
    return TaskAbandoned(task=IDS[slug], kind="provider", message="overload")


def doubt(slug: str) -> Event:
    return AttemptUncertain(
        task=IDS[slug],
        attempt=1,
        phase="sent",
        error="the connection broke",
        window=WINDOW,
    )


def closed(code: int) -> SessionClosed:
    return SessionClosed(exit=code, reason="", spent=PRICE, committed=PRICE)


def lines(stream: TextIO, clock: Clock, **more: bool) -> Lines:
    narrator = Narrator("nightly-ugc", usd(378))
    return Lines(stream, narrator, now=clock, **more)


def a_night(run: Run, observer: Bars | Lines) -> None:
    """A session with every kind of outcome."""
    slug = "scale-it"
    run.tell(observer, OPENED, *accepted("mug-de"), *accepted("kettle-fr"))
    run.clock.pass_by(164)
    run.tell(observer, rendered("mug-de"), saved("mug-de"), broken("kettle-fr"))
    run.clock.pass_by(10)
    run.tell(observer, *accepted("kettle-fr", 2))
    observer.notice("waiting for the account's rate limit, 41 s")
    run.clock.pass_by(40)
    run.tell(observer, broken("kettle-fr", 2), given_up("kettle-fr"), *accepted(slug))
    no = PredictionFailed(
        task=IDS[slug], attempt=1, kind="moderation", message="policy"
    )
    gone = TaskAbandoned(task=IDS[slug], kind="moderation", message="content policy")
    run.tell(observer, no, gone, *started("lamp-es"), doubt("lamp-es"))
    run.clock.pass_by(1)
    observer.notice("the key was refused (401)")
    run.tell(observer, closed(6))


def test_a_night_in_cron_lines() -> None:
    clock, stream = Clock(), io.StringIO()
    a_night(Run(clock), lines(stream, clock))
    assert stream.getvalue() == (
        "2026-11-22T02:00:01+01:00 start nightly-ugc: 5 clips, $378.00, cap $400.00, "
        "60 at a time\n"
        "2026-11-22T02:02:45+01:00 done 1/5 mug-de $2.10 164s\n"
        "2026-11-22T02:02:55+01:00 RETRY kettle-fr attempt 2: "
        "provider error 5003: overload\n"
        "2026-11-22T02:02:55+01:00 waiting for the account's rate limit, 41 s\n"
        "2026-11-22T02:03:35+01:00 FAILED kettle-fr provider error 5003: overload, "
        "refund expected\n"
        "2026-11-22T02:03:35+01:00 FAILED scale-it rejected: content policy. "
        "Not retried; edit the prompt\n"
        "2026-11-22T02:03:35+01:00 UNCERTAIN lamp-es may have been bought: "
        "the connection broke. It counts as $2.10 spent; not bought again on its own\n"
        "2026-11-22T02:03:36+01:00 the key was refused (401)\n"
        "2026-11-22T02:03:36+01:00 end 1/5 done, 1 failed, 1 rejected, 1 uncertain, "
        "1 left, $2.10 of $400.00, exit 6\n"
    )


def test_quiet_lines_keep_start_problems_and_end() -> None:
    clock, stream = Clock(), io.StringIO()
    observer = lines(stream, clock, quiet=True, timestamps=False)
    run = Run(clock)
    a_night(run, observer)
    clock.pass_by(3600)
    observer.alive(run.tally)
    words = [line.split()[0] for line in stream.getvalue().splitlines()]
    assert words == ["start", "FAILED", "FAILED", "UNCERTAIN", "the", "end"]


def test_verbose_lines_show_every_submission() -> None:
    clock, stream = Clock(), io.StringIO()
    run, observer = Run(clock), lines(stream, clock, verbose=True, timestamps=False)
    slow = AttemptRefused(task=IDS["mug-de"], attempt=1, kind="rate", message="slow")
    run.tell(observer, *started("mug-de"), slow, *accepted("mug-de", 2))
    assert stream.getvalue().splitlines() == [
        "submit mug-de attempt 1",
        "refused mug-de rate: slow",
        "submit mug-de attempt 1",
        "accepted mug-de p2",
    ]


def test_a_sign_of_life_comes_only_after_five_quiet_minutes() -> None:
    clock, stream = Clock(), io.StringIO()
    run, observer = Run(clock), lines(stream, clock, timestamps=False)
    run.tell(observer, *accepted("mug-de"), rendered("mug-de"), saved("mug-de"))
    clock.pass_by(299)
    observer.alive(run.tally)
    assert stream.getvalue() == "done 1/5 mug-de $2.10 0s\n"
    clock.pass_by(1)
    observer.alive(run.tally)
    observer.alive(run.tally)
    assert stream.getvalue().splitlines()[1:] == [
        "alive 1/5 done, 0 rendering, $2.10 spent"
    ]


def test_what_was_settled_later_has_its_line() -> None:
    clock, stream = Clock(), io.StringIO()
    run, observer = Run(clock), lines(stream, clock, timestamps=False)
    run.tell(observer, *started("mug-de"), doubt("mug-de"))
    run.tell(observer, *started("lamp-es"), doubt("lamp-es"))
    stream.truncate(0)
    stream.seek(0)
    found = AttemptAccepted(
        task=IDS["mug-de"], attempt=1, prediction="p7", via="history"
    )
    absent = AttemptAbsent(
        task=IDS["lamp-es"], attempt=1, scans=3, window=WINDOW, by="history"
    )
    missing = OutputsMissing(task=IDS["mug-de"], names=("x.mp4",))
    repaired = Repaired(bytes=12, kept="state.torn")
    run.tell(observer, found, absent, rendered("mug-de"), saved("mug-de"))
    run.tell(observer, missing, repaired)
    assert stream.getvalue().splitlines() == [
        "found mug-de in the account's history: p7, not bought again",
        "absent lamp-es never reached the service",
        "done 1/5 mug-de $2.10 0s",
        "MISSING mug-de x.mp4: fetching again, free",
        "repaired the state file: 12 torn bytes kept in state.torn",
    ]


def test_a_retried_clip_costs_what_its_last_attempt_cost() -> None:
    clock, stream = Clock(), io.StringIO()
    run, observer = Run(clock), lines(stream, clock, timestamps=False)
    again = PredictionCompleted(task=IDS["mug-de"], attempt=2, outputs=())
    run.tell(observer, *accepted("mug-de"), broken("mug-de"), *accepted("mug-de", 2))
    run.tell(observer, again, saved("mug-de", 2))
    assert stream.getvalue().splitlines()[-1] == "done 1/5 mug-de $2.10 0s"


def test_what_never_left_and_what_is_lost_have_their_words() -> None:
    clock, stream = Clock(), io.StringIO()
    run, observer = Run(clock), lines(stream, clock, verbose=True, timestamps=False)
    task = IDS["mug-de"]
    unsent = AttemptNotSent(task=task, attempt=1, phase="connect", error="no route")
    done = PredictionCompleted(task=task, attempt=2, outputs=())
    lost = TaskAbandoned(task=task, kind="lost", message="the link died")
    run.tell(observer, *started("mug-de"), unsent, *accepted("mug-de", 2), done, lost)
    task = IDS["lamp-es"]
    no = AttemptRefused(task=task, attempt=1, kind="model", message="no such model")
    refused = TaskAbandoned(task=task, kind="refused", message="no such model")
    run.tell(observer, *started("lamp-es"), no, refused)
    assert stream.getvalue().splitlines() == [
        "submit mug-de attempt 1",
        "not sent mug-de no route",
        "submit mug-de attempt 1",
        "accepted mug-de p2",
        "FAILED mug-de lost: the link died. Paid, and no longer to be fetched",
        "submit lamp-es attempt 1",
        "refused lamp-es model: no such model",
        "FAILED lamp-es refused: no such model",
    ]


@pytest.mark.parametrize(
    ("deadline", "said"),
    [
        ("2026-11-22T05:30:00.000Z", "until 06:30"),
        ("2026-11-25T05:30:00.000Z", "until 2026-11-25 06:30"),
    ],
)
def test_the_start_says_until_when_it_buys(deadline: str, said: str) -> None:
    clock, stream = Clock(), io.StringIO()
    run, observer = Run(clock), lines(stream, clock, timestamps=False)
    run.tell(observer, replace(OPENED, deadline=deadline))
    assert f", cap $400.00, {said}, 60 at a time" in stream.getvalue()


def test_a_session_that_goes_on_says_what_is_done_already() -> None:
    clock, stream = Clock(), io.StringIO()
    run, observer = Run(clock), lines(stream, clock, timestamps=False)
    run.tell(observer, *accepted("mug-de"), rendered("mug-de"), saved("mug-de"))
    run.tell(observer, replace(OPENED, cap=None))
    assert stream.getvalue().splitlines()[-1] == (
        "start nightly-ugc: 5 clips, 1 done already, $378.00, no cap, 60 at a time"
    )


def test_a_message_stays_on_its_line_and_commands_nothing() -> None:
    clock, stream = Clock(), io.StringIO()
    lines(stream, clock, timestamps=False).notice("a\nFAILED b\x1b[2J\u202e")
    assert stream.getvalue() == "a FAILED b\n"


def test_a_stream_without_utf8_gets_ascii() -> None:
    clock, stream = Clock(), io.StringIO()
    lines(stream, clock, utf8=False, timestamps=False).notice("夜 é")
    assert stream.getvalue() == "\\u591c \\xe9\n"


def test_a_closed_observer_writes_nothing_more() -> None:
    clock, stream = Clock(), io.StringIO()
    observer = lines(stream, clock)
    observer.close()
    observer.notice("late")
    assert stream.getvalue() == ""


def some_bars(run: Run, screen: Screen, *, columns: int, utf8: bool = True) -> Bars:
    bars = Bars(screen, now=run.clock, utf8=utf8, ncols=columns)
    run.tell(bars, OPENED, *accepted("mug-de"), *accepted("kettle-fr"))
    run.tell(bars, *accepted("scale-it"), rendered("mug-de"))
    bars.received(2_000_000)
    run.clock.pass_by(60)
    bars.received(88_000_000)
    run.tell(bars, saved("mug-de"), broken("kettle-fr"), given_up("kettle-fr"))
    run.tell(bars, rendered("scale-it"), *accepted("lamp-es"))
    run.clock.pass_by(1)
    bars.received(18_000_000)
    bars.alive(run.tally)
    return bars


def narrow(stream: TextIO, clock: Clock) -> Bars:
    return Bars(stream, now=clock, ncols=79)


def test_the_bars_on_a_wide_terminal() -> None:
    screen = Screen()
    bars = some_bars(Run(Clock()), screen, columns=119)
    assert screen.rows() == [
        "  ✗ failed  kettle-fr provider error 5003: overload, refund expected",
        (
            "clips    ███▍               1/5                1 rendering · 1 waiting"
            " · 1 failed · about 2m left"
        ),
        (
            "spend    ▎                  $8.40 of $400.00   $4.20 spent"
            " · $2.10 in flight · $2.10 refund expected"
        ),
        "files    ████████▌          108 MB             1 downloading · 18 MB/s",
    ]
    bars.close()


def test_eighty_columns_keep_what_matters_most() -> None:
    screen = Screen()
    bars = some_bars(Run(Clock()), screen, columns=79)
    rows = screen.rows()
    assert rows[1:] == [
        "clips    █▊         1/5                1 rendering · 1 failed · about 2m left",
        (
            "spend    ▏          $8.40 of $400.00   "
            "$2.10 in flight · $2.10 refund expected"
        ),
        "files    ████▌      108 MB             1 downloading · 18 MB/s",
    ]
    assert all(len(row) <= 79 for row in rows[1:])
    bars.close()


def test_a_terminal_without_utf8_gets_ascii_bars() -> None:
    screen = Screen()
    bars = some_bars(Run(Clock()), screen, columns=99, utf8=False)
    bars.close()
    assert screen.getvalue().isascii()


def test_bars_have_no_colour() -> None:
    screen = Screen()
    some_bars(Run(Clock()), screen, columns=99).close()
    assert "\x1b" not in screen.getvalue().replace("\x1b[A", "")


def test_closed_bars_leave_only_what_scrolled_by() -> None:
    screen = Screen()
    bars = some_bars(Run(Clock()), screen, columns=99)
    bars.notice("waiting for the account's rate limit, 41 s")
    bars.close()
    rows = screen.rows()
    assert [row for row in rows if row] == [
        "  ✗ failed  kettle-fr provider error 5003: overload, refund expected",
        "  waiting for the account's rate limit, 41 s",
    ]
    assert screen.cursor == (2, 0)
    before = screen.getvalue()
    bars.notice("late")
    bars.received(1)
    bars.close()
    assert screen.getvalue() == before


def test_a_wide_script_above_the_bars_leaves_them_whole() -> None:
    screen, run = Screen(), Run(Clock())
    bars = Bars(screen, now=run.clock, ncols=79)
    slug = SLUGS[-1]
    run.tell(bars, OPENED, *accepted(slug), broken(slug), given_up(slug))
    rows = screen.rows()
    assert rows[0].startswith(f"  ✗ failed  {slug} provider")
    assert [row.split()[0] for row in rows[1:]] == ["clips", "spend", "files"]
    bars.close()


def test_a_notice_above_the_bars_commands_nothing() -> None:
    screen, run = Screen(), Run(Clock())
    bars = Bars(screen, now=run.clock, ncols=79)
    run.tell(bars, OPENED)
    bars.notice("a\x1b[2Jb\nc")
    assert screen.rows()[0] == "  ab c"
    assert "\x1b[2J" not in screen.getvalue()
    bars.close()


def test_verbose_bars_let_everything_scroll_by() -> None:
    screen, run = Screen(), Run(Clock())
    bars = Bars(screen, now=run.clock, ncols=79, verbose=True)
    run.tell(bars, *accepted("mug-de"))
    assert screen.rows()[:2] == ["  submit mug-de attempt 1", "  accepted mug-de p1"]
    bars.close()


def test_more_money_than_the_cap_fills_the_bar() -> None:
    screen, run = Screen(), Run(Clock())
    bars = Bars(screen, now=run.clock, ncols=79)
    lower = replace(OPENED, cap=usd(1))
    run.tell(bars, lower, *accepted("mug-de"))
    run.clock.pass_by(1)
    bars.alive(run.tally)
    assert screen.rows()[1].startswith("spend    █████████  $2.10 of $1.00")
    bars.close()


def test_bars_are_drawn_at_most_ten_times_a_second() -> None:
    screen, run = Screen(), Run(Clock())
    bars = Bars(screen, now=run.clock, ncols=79)
    run.tell(bars, OPENED)
    for _ in range(100):
        run.clock.pass_by(0.01)
        bars.alive(run.tally)
    assert screen.getvalue().count("clips") <= 12
    bars.close()


def test_downloads_in_threads_draw_their_own_bar() -> None:
    screen, run = Screen(), Run(Clock())
    bars = Bars(screen, now=run.clock, ncols=79)
    run.tell(bars, OPENED, *accepted("mug-de"), rendered("mug-de"))

    def download() -> None:
        for _ in range(200):
            bars.received(1_000_000)

    threads = [Thread(target=download) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.clock.pass_by(1)
    bars.received(0)
    assert "800 MB" in screen.rows()[2]
    assert "1 downloading" not in screen.rows()[2]
    bars.alive(run.tally)
    assert "1 downloading" in screen.rows()[2]
    bars.close()


def test_a_run_without_a_cap_has_no_cap_in_its_bar() -> None:
    screen, run = Screen(), Run(Clock())
    bars = Bars(screen, now=run.clock, ncols=79)
    run.tell(bars, replace(OPENED, cap=None))
    assert screen.rows()[1] == "spend               $0.00"
    bars.close()


@pytest.mark.parametrize("writes", [0, 1, 5, 9, 20, 30, 50, 80])
@pytest.mark.parametrize("make", [narrow, lines])
def test_a_broken_pipe_ends_only_the_display(
    make: Callable[..., Bars | Lines], writes: int
) -> None:
    clock, pipe = Clock(), Pipe(writes)
    observer = make(pipe, clock)
    run = Run(clock)
    a_night(run, observer)
    thread = Thread(target=observer.received, args=(1,))
    thread.start()
    thread.join(timeout=5)
    assert not thread.is_alive()
    observer.close()
    assert run.tally.closed == closed(6)


@pytest.mark.parametrize(
    ("room", "text"),
    [
        (30, "aaaa · bbbb · cccc"),
        (18, "aaaa · bbbb · cccc"),
        (17, "aaaa · cccc"),
        (10, "cccc"),
        (3, ""),
    ],
)
def test_remarks_are_dropped_whole_by_rank(room: int, text: str) -> None:
    parts = ((1, "aaaa"), (2, "bbbb"), (0, "cccc"))
    assert fitting(parts, room, " · ") == text


@pytest.mark.parametrize(
    ("is_tty", "quiet", "bars"),
    [(True, False, True), (True, True, False), (False, False, False)],
)
def test_the_log_gets_every_line_whatever_is_shown(
    *, is_tty: bool, quiet: bool, bars: bool
) -> None:
    clock, screen, log = Clock(), Screen(), io.StringIO()
    both = observers(
        screen,
        is_tty=is_tty,
        utf8=True,
        quiet=quiet,
        verbose=False,
        log=log,
        now=clock,
        timestamps=False,
        run="nightly-ugc",
        cost=usd(378),
    )
    run = Run(clock)
    for event in (OPENED, *accepted("mug-de"), rendered("mug-de"), saved("mug-de")):
        run.tally.apply(event)
        both.event(event, run.tally)
    both.received(1)
    both.notice("waiting")
    both.alive(run.tally)
    shown = screen.rows()
    both.close()
    assert any(row.startswith("clips ") for row in shown) is bars
    assert log.getvalue() == (
        "2026-11-22T02:00:01+01:00 start nightly-ugc: 5 clips, $378.00, cap $400.00, "
        "60 at a time\n"
        "2026-11-22T02:00:01+01:00 done 1/5 mug-de $2.10 0s\n"
        "2026-11-22T02:00:01+01:00 waiting\n"
    )


def test_a_log_on_a_full_disk_tells_later_how_much_it_left_out(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    with closing(Log(path)) as log:
        log.write("one\n")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (6, hard))  # full in a line's middle
        try:
            for word in ("two", "three"):
                log.write(f"{word}\n")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        log.write("four\n")
    apology = "[2 lines are missing here: the disk did not take them]"
    assert path.read_text() == f"one\ntw\n{apology}\nfour\n"
