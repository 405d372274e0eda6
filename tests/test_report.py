"""What a run says at its end, to machines, to sheets and to people."""

import csv
import io
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal

import pytest
from msgspec.structs import replace

from batchgen import report, terminal, words
from batchgen.events import (
    AttemptAccepted,
    AttemptNotSent,
    AttemptRefused,
    AttemptStarted,
    AttemptUncertain,
    Event,
    OutputsSaved,
    PredictionCompleted,
    PredictionFailed,
    SavedFile,
    SessionOpened,
    TaskAbandoned,
    TaskPlanned,
    Window,
)
from batchgen.money import usd
from batchgen.plan import Plan
from batchgen.quote import First, Quote, plan_text
from batchgen.report import Sheet, Summary
from batchgen.report.sheet import inert
from batchgen.tally import WORDS, Tally
from batchgen.tasks import Task

PRICE = usd("2.10")
COMMAND = "batchgen run manifests/spring.yaml"
FILES = {
    "report": "outputs/spring-launch/report.html",
    "results": "outputs/spring-launch/results.csv",
}
Kind = Literal["provider", "moderation", "invalid", "cancelled", "gone"]
OPENED = SessionOpened(
    tool="test",
    pid=1,
    host="here",
    cap=usd(60),
    concurrency=3,
    manifest="",
    endpoint="",
)


def task(number: int, slug: str, *, file: str = "", **labels: str) -> Task:
    return Task(
        id=f"{number:08x}".ljust(32, "0"),
        slug=slug,
        model="acme/video",
        input={"prompt": slug},
        take=1,
        price=PRICE,
        seconds=5,
        labels=labels,
        output=f"{file or slug}.mp4",
    )


MUG = task(1, "mug-de", product="mug", locale="de")
KETTLE = task(2, "kettle-fr", product="kettle", locale="fr")
SCALE = task(3, "scale-it", product="scale", locale="it")
LAMP = task(4, "lamp-es", product="lamp", locale="es")


def planned(one: Task) -> TaskPlanned:
    return TaskPlanned(
        task=one.id,
        slug=one.slug,
        labels=one.labels,
        model=one.model,
        input=one.input,
        take=one.take,
        price=one.price,
        seconds=one.seconds,
        output=one.output,
    )


def started(one: Task, attempt: int = 1) -> list[Event]:
    return [
        planned(one),
        AttemptStarted(task=one.id, attempt=attempt, reserve=one.price),
    ]


def rendering(one: Task, attempt: int = 1) -> list[Event]:
    prediction = f"p{attempt}-{one.output.removesuffix('.mp4')}"
    accepted = AttemptAccepted(task=one.id, attempt=attempt, prediction=prediction)
    return [*started(one, attempt), accepted]


def done(one: Task, attempt: int = 1) -> list[Event]:
    file = SavedFile(name=one.output, bytes=20_750_000, sha256="0" * 64)
    return [
        *rendering(one, attempt),
        PredictionCompleted(task=one.id, attempt=attempt, outputs=()),
        OutputsSaved(task=one.id, attempt=attempt, files=(file,)),
    ]


def broken(one: Task, attempt: int = 1, kind: Kind = "provider") -> list[Event]:
    failed = PredictionFailed(
        task=one.id, attempt=attempt, kind=kind, message="internal error"
    )
    return [*rendering(one, attempt), failed]


def failed(one: Task, kind: Kind = "provider") -> list[Event]:
    abandoned = TaskAbandoned(task=one.id, kind=kind, message="internal error")
    return [*broken(one, kind=kind), abandoned]


def uncertain(one: Task) -> list[Event]:
    window = Window(since="2026-11-22T02:14:09Z", until="2026-11-22T02:14:39Z")
    doubt = AttemptUncertain(
        task=one.id,
        attempt=1,
        phase="sent",
        error="the connection broke while submitting",
        window=window,
    )
    return [*started(one), doubt]


def told(tasks: Sequence[Task], *stories: Sequence[Event]) -> Tally:
    tally = Tally()
    tally.want(one.id for one in tasks)
    tally.apply(OPENED)
    for event in (event for story in stories for event in story):
        tally.apply(event)
    return tally


def summary(tasks: Sequence[Task], tally: Tally, *stops: str) -> Summary:
    ending = report.exit_code(tally.counts, *stops, signal=2)
    return report.summarise(
        "spring-launch",
        report.Listed(tasks),
        tally,
        exit=ending.exit,
        reason=ending.reason,
        started_at="2026-11-22T09:00:00Z",
        wall_s=1868.2,
        files=FILES,
    )


def end(tasks: Sequence[Task], tally: Tally, *stops: str) -> str:
    document = summary(tasks, tally, *stops)
    return report.end_text(document, tasks, tally, command=COMMAND)


def test_the_summary_is_the_documented_one() -> None:
    tasks = [MUG, KETTLE]
    document = summary(tasks, told(tasks, done(MUG), failed(KETTLE)))
    assert report.to_json(document) == (
        '{"schema": "batchgen.summary/1", "run": "spring-launch", "exit": 1, '
        '"reason": "some_failed", "counts": {"total": 2, "pending": 0, '
        '"rendering": 0, "downloading": 0, "done": 1, "failed": 1, "rejected": 0, '
        '"lost": 0, "uncertain": 0}, "spent_usd": 2.10, "committed_usd": 4.20, '
        '"budget_usd": 60.00, "refund_expected_usd": 2.10, "seconds_of_video": 5, '
        '"started_at": "2026-11-22T09:00:00Z", "wall_s": 1868, "files": {"report": '
        '"outputs/spring-launch/report.html", "results": '
        '"outputs/spring-launch/results.csv"}, "failed": [{"slug": "kettle-fr", '
        '"hash": "00000002", "kind": "provider", "message": "internal error", '
        '"attempts": 1}]}'
    )


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("52.08", "52.08"),
        ("60.00", "60.00"),
        ("0.000001", "0.000001"),
        ("0E+2", "0"),
        ("123456789012345678901234.10", "123456789012345678901234.10"),
    ],
)
def test_money_is_printed_digit_by_digit(amount: str, text: str) -> None:
    assert report.to_json({"spent_usd": Decimal(amount)}) == f'{{"spent_usd": {text}}}'


def test_the_json_is_what_json_would_have_printed() -> None:
    document: dict[str, Any] = {
        "text": 'quote " \x1b[31m 日本 \ud800',
        "list": [1, 2.5, None, True, ()],
        "map": {},
    }
    assert report.to_json(document) == json.dumps(document)


def test_a_number_that_json_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        report.to_json({"wall_s": float("nan")})


def test_a_status_lists_every_task_as_it_stands() -> None:
    tasks = [MUG, KETTLE, SCALE]
    tally = told(tasks, done(MUG), rendering(KETTLE))
    expires = {KETTLE.id: "2026-11-29T09:00:00Z"}
    document = report.status(summary(tasks, tally), tasks, tally, expires)
    assert document["schema"] == "batchgen.status/1"
    assert document["counts"]["total"] == 3
    assert document["tasks"][0] == {
        "slug": "mug-de",
        "hash": "00000001",
        "take": 1,
        "status": "done",
        "attempts": 1,
        "cost_usd": Decimal("2.10"),
        "prediction": "p1-mug-de",
        "file": "videos/mug-de.mp4",
        "labels": {"product": "mug", "locale": "de"},
        "error": None,
        "expires_at": None,
    }
    assert document["tasks"][1]["status"] == "rendering"
    assert document["tasks"][1]["expires_at"] == "2026-11-29T09:00:00Z"
    assert document["tasks"][2]["prediction"] is None


def test_an_error_is_told_only_while_it_stands() -> None:
    tasks = [MUG, KETTLE]
    tally = told(tasks, broken(MUG), done(MUG, 2)[1:], failed(KETTLE, "moderation"))
    rows = report.status(summary(tasks, tally), tasks, tally)["tasks"]
    assert rows[0]["error"] is None
    assert rows[0]["attempts"] == 2
    assert rows[0]["cost_usd"] == Decimal("4.20")
    assert rows[1]["error"] == {"kind": "moderation", "message": "internal error"}


def test_attempts_that_were_free_are_not_shown() -> None:
    refused = AttemptRefused(
        task=MUG.id, attempt=1, kind="rate", message="slow down", retryable=True
    )
    unsent = AttemptNotSent(task=MUG.id, attempt=2, phase="connect", error="no route")
    tally = told(
        [MUG], started(MUG), [refused], started(MUG, 2), [unsent], done(MUG, 3)
    )
    row = report.status(summary([MUG], tally), [MUG], tally)["tasks"][0]
    assert row["attempts"] == 1


def test_a_journal_alone_is_enough_for_its_tasks() -> None:
    tally = told([MUG, KETTLE], done(MUG), failed(KETTLE))
    assert list(report.known(tally)) == [MUG, KETTLE]


def test_all_runs_are_one_document() -> None:
    one = summary([MUG], told([MUG], done(MUG)))
    assert report.runs([one]) == {
        "schema": "batchgen.status/1",
        "exit": 0,
        "reason": "done",
        "runs": [one],
    }


def counts(**some: int) -> dict[str, int]:
    return {name: some.get(name, 0) for name in WORDS}


@pytest.mark.parametrize(
    ("stops", "some", "expected"),
    [
        ((), {"done": 3}, (0, "done")),
        ((), {"done": 2, "failed": 1}, (1, "some_failed")),
        ((), {"rejected": 1}, (1, "some_failed")),
        ((), {"rendering": 1, "failed": 1}, (3, "still_rendering")),
        ((), {"downloading": 1}, (3, "still_rendering")),
        (("budget",), {"pending": 1, "failed": 1}, (3, "budget")),
        (("deadline",), {"pending": 1}, (3, "deadline")),
        (("breaker",), {"pending": 1}, (3, "breaker")),
        (("breaker",), {"pending": 1, "uncertain": 3}, (6, "uncertain")),
        (("budget",), {"done": 1}, (0, "done")),
        ((), {"uncertain": 1, "failed": 1, "lost": 1}, (6, "uncertain")),
        ((), {"lost": 1}, (6, "some_failed")),
        (("key",), {"uncertain": 1}, (4, "key")),
        (("credit",), {"pending": 1}, (4, "credit")),
        (("network", "budget"), {"pending": 1}, (4, "network")),
        (("state", "key"), {"pending": 1}, (7, "state")),
        (("disk", "state"), {"uncertain": 1}, (8, "disk")),
        (("bug",), {"done": 1}, (70, "bug")),
        (("interrupted", "disk"), {"pending": 1}, (143, "interrupted")),
        ((None,), {"done": 1}, (0, "done")),
    ],
)
def test_the_gravest_thing_decides_the_exit_code(
    stops: tuple[str | None, ...], some: dict[str, int], expected: tuple[int, str]
) -> None:
    assert report.exit_code(counts(**some), *stops, signal=15) == expected


def test_a_run_that_found_nothing_to_do_says_so() -> None:
    assert report.exit_code(counts(done=1), idle=True) == (0, "nothing_to_do")
    assert report.exit_code(counts(failed=1), idle=True) == (1, "some_failed")


def test_an_interrupt_without_a_number_is_a_control_c() -> None:
    assert report.exit_code(counts(), "interrupted") == (130, "interrupted")


def test_the_sheet_has_labels_first_and_a_mark_for_spreadsheets() -> None:
    tasks = [MUG, KETTLE]
    text = report.results_csv(tasks, told(tasks, done(MUG), failed(KETTLE)))
    assert text == (
        "\ufeffproduct,locale,bg_slug,bg_hash,bg_status,bg_file,bg_cost_usd,"
        "bg_seconds,bg_error,bg_prediction\n"
        "mug,de,mug-de,00000001,done,videos/mug-de.mp4,2.10,5,,p1-mug-de\n"
        "kettle,fr,kettle-fr,00000002,failed,,2.10,5,provider: internal error,"
        "p1-kettle-fr\n"
    )


def test_the_columns_of_the_authors_sheet_come_first() -> None:
    tasks = [MUG, KETTLE]
    cells = {MUG.id: ("Tasse", "old", "=1+1"), KETTLE.id: ("Kessel",)}
    sheet = Sheet(("Titel", "bg_status", "Notiz"), cells)
    text = report.results_csv(tasks, told(tasks, done(MUG)), sheet)
    rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))
    assert [row[:4] for row in rows] == [
        ["Titel", "Notiz", "bg_slug", "bg_hash"],
        ["Tasse", "'=1+1", "mug-de", "00000001"],
        ["Kessel", "", "kettle-fr", "00000002"],
    ]
    assert rows[2][4] == "pending"


HARMLESS = [
    "",
    "mug",
    "de-DE",
    "5",
    "-5",
    "-0.25",
    "12.50",
    " mug",
    "a=b",
    "1+1",
    "mail@example.com",
    "two\nlines",
    "日本語",
    "'=already",
    "a\tb",
]
RISKY = [
    "=1+1",
    "+1",
    "-1+1",
    "--1",
    "@SUM(A1)",
    "=cmd|' /C calc'!A0",
    "+49 170",
    "-",
    "-5e3",
    "-.5",
    " =1",
    "\u00a0=1",
    "\u3000=1",
    "\u200b=1",
    "\ufeff=1",
    "\u202e=1",
    "\x00=1",
    "\x1b=1",
    "\x07+1",
    "\t=1",
    "\tmug",
    "\rmug",
    "\nmug",
    "\N{FULLWIDTH EQUALS SIGN}1+1",
    "\N{FULLWIDTH PLUS SIGN}1",
    "\N{FULLWIDTH HYPHEN-MINUS}1",
    "\N{FULLWIDTH COMMERCIAL AT}SUM",
    "﹢1",
    "﹣1",
    "\v=1",
    " \t @x",
    "- a list item",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_a_harmless_cell_stays_as_it_is(text: str) -> None:
    assert inert(text) == text


@pytest.mark.parametrize("text", RISKY)
def test_a_cell_that_could_be_a_formula_is_text(text: str) -> None:
    assert inert(text) == f"'{text}"


@pytest.mark.parametrize("ending", ["\n", "\r", "\r\n"])
def test_every_physical_line_of_a_cell_is_text(ending: str) -> None:
    text = ending.join(("mug", "=1", "lamp", " @x", "-7"))
    assert inert(text) == ending.join(("mug", "'=1", "lamp", "' @x", "'-7"))


def test_no_cell_of_the_sheet_can_be_a_formula() -> None:
    labels = {"@axis": "+value"}
    evil = task(9, "=evil()", file="evil", **labels)
    tally = told([evil], failed(evil))
    text = report.results_csv([evil], tally)
    assert text.splitlines()[0].startswith("\ufeff'@axis,")
    assert text.splitlines()[1].startswith("'+value,'=evil(),")


def test_the_end_of_a_run_with_a_failed_clip() -> None:
    tasks = [task(n, f"clip-{n:02d}") for n in range(1, 25)]
    lost = task(99, "TMB-02_de-DE_1x1_steam")
    tally = told([*tasks, lost], *map(done, tasks), failed(lost))
    assert end([*tasks, lost], tally) == (
        "spring-launch: 24 of 25 clips done in 31m 08s\n"
        "  spent      $50.40 of $60.00\n"
        "  refund     $2.10 expected for 1 failed clip"
        " (WaveSpeed returns failed charges within about 3 h)\n"
        "  failed     TMB-02_de-DE_1x1_steam   provider: internal error\n"
        "  files      outputs/spring-launch/videos (24 files, 498 MB)\n"
        "  report     outputs/spring-launch/report.html\n"
        "Run the same command to try the failed clip again ($2.10).\n"
    )


def test_the_end_of_a_run_in_which_all_went_well() -> None:
    assert end([MUG], told([MUG], done(MUG))) == (
        "spring-launch: 1 of 1 clip done in 31m 08s\n"
        "  spent      $2.10 of $60.00\n"
        "  files      outputs/spring-launch/videos (1 file, 21 MB)\n"
        "  report     outputs/spring-launch/report.html\n"
    )


def test_the_end_of_a_run_with_a_clip_in_doubt_says_so_plainly() -> None:
    tasks = [MUG, KETTLE]
    at = datetime(2026, 11, 22, 2, 14, 9, tzinfo=UTC).astimezone()
    assert end(tasks, told(tasks, done(MUG), uncertain(KETTLE))) == (
        "spring-launch: 1 of 2 clips done in 31m 08s\n"
        "  spent      $2.10 of $60.00, and $2.10 uncertain, which counts as spent\n"
        "  files      outputs/spring-launch/videos (1 file, 21 MB)\n"
        "  report     outputs/spring-launch/report.html\n"
        "\n"
        "error: 1 clip may have been bought without us hearing back [uncertain]\n"
        f"  kettle-fr: the connection broke while submitting at {at:%H:%M:%S}."
        " It counts as $2.10 spent until settled.\n"
        "  batchgen will not buy it again on its own. It looks in the account's"
        " history at every start; if it is not there:\n"
        "    batchgen run manifests/spring.yaml --retry absent         "
        "buys it again once the history is conclusive\n"
    )


def test_the_end_of_a_run_that_was_interrupted() -> None:
    tasks = [MUG, KETTLE, SCALE]
    tally = told(tasks, done(MUG), rendering(KETTLE))
    assert end(tasks, tally, "interrupted").splitlines()[2:4] == [
        (
            "  waiting    1 clip paid for and not collected; "
            "the next run fetches them at no extra cost"
        ),
        "  left       1 clip not bought: the run was interrupted ($2.10)",
    ]
    assert end(tasks, tally, "interrupted").endswith(
        "Run the same command to go on with the other 1 clip.\n"
    )


def test_the_end_of_a_run_that_met_its_cap() -> None:
    tasks = [MUG, KETTLE, SCALE]
    text = end(tasks, told(tasks, done(MUG)), "budget")
    assert (
        "  left       2 clips not bought: the cap does not cover them ($4.20)" in text
    )
    assert text.endswith(
        "Raise the cap (--budget) and run again for the other 2 clips.\n"
    )


def test_rejected_and_lost_clips_are_not_promised_a_second_try() -> None:
    tasks = [MUG, KETTLE]
    lost = [
        *rendering(KETTLE),
        PredictionCompleted(task=KETTLE.id, attempt=1, outputs=()),
        TaskAbandoned(task=KETTLE.id, kind="lost", message="the link died"),
    ]
    text = end(tasks, told(tasks, failed(MUG, "moderation"), lost))
    assert text == (
        "spring-launch: 0 of 2 clips done in 31m 08s\n"
        "  spent      $4.20 of $60.00\n"
        "  rejected   mug-de      moderation: internal error\n"
        "  lost       kettle-fr   lost: the link died\n"
        "  report     outputs/spring-launch/report.html\n"
        "1 rejected clip is not tried again as it is: edit the prompt, or add"
        " --retry rejected.\n"
        "1 lost clip: paid, and no longer to be fetched; not bought a second time by"
        " itself.\n"
    )


def test_many_failures_do_not_fill_the_screen() -> None:
    tasks = [task(n, f"clip-{n:02d}") for n in range(20)]
    lines = end(tasks, told(tasks, *map(failed, tasks))).splitlines()
    assert sum(line.startswith("  failed") for line in lines) == 8
    assert "             and 12 more, all in results.csv" in lines


def test_many_clips_in_doubt_are_counted() -> None:
    tasks = [task(n, f"clip-{n:02d}") for n in range(20)]
    text = end(tasks, told(tasks, *map(uncertain, tasks)))
    assert "error: 20 clips may have been bought without us" in text
    assert "  and 12 more\n  batchgen will not buy them again on its own." in text


def test_a_refund_for_a_clip_that_came_later_is_still_expected() -> None:
    text = end([MUG], told([MUG], broken(MUG), done(MUG, 2)[1:]))
    assert "  refund     $2.10 expected for failed attempts (WaveSpeed" in text
    assert "Run the same" not in text


def test_a_text_cannot_command_the_terminal() -> None:
    evil = task(9, "\x1b]0;owned\x07\x1b[2J\u202eevil\r\nline", file="evil")
    text = end([evil], told([evil], failed(evil)))
    assert "  failed     evil line   provider: internal error\n" in text
    assert "\x1b" not in text


NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone(timedelta(hours=1)))


def test_the_runs_are_a_table() -> None:
    tasks = [MUG, KETTLE]
    one = summary(tasks, told(tasks, done(MUG), failed(KETTLE)))
    two = summary(tasks, told(tasks, done(MUG)), "deadline")
    two["run"], two["started_at"] = "夜-ugc", "2026-11-21T05:00:00Z"
    old = summary(tasks, told(tasks, done(MUG), done(KETTLE)))
    old["started_at"], old["budget_usd"] = "2026-11-01T05:00:00Z", None
    assert report.runs_text([one, two, old], NOW) == (
        "run             done   failed   left   spent / cap      last activity\n"
        "spring-launch      1        1      0   $2.10 / $60.00   today 10:31\n"
        "夜-ugc             1        0      1   $2.10 / $60.00   yesterday 06:31"
        "    stopped at deadline\n"
        "spring-launch      2        0      0   $4.20            2026-11-01 06:31\n"
    )


def test_the_status_of_a_run_leads_with_what_is_paid_and_not_collected() -> None:
    tasks = [MUG, KETTLE, SCALE, LAMP]
    tally = told(tasks, done(MUG), rendering(KETTLE), failed(SCALE), uncertain(LAMP))
    expires = {KETTLE.id: "2026-11-26T13:00:00Z"}
    document = report.status(summary(tasks, tally), tasks, tally, expires)
    assert report.status_text(report.standing(document), NOW) == (
        "1 paid clip not collected, first expires Thu 14:00\n"
        "spring-launch: 1 of 4 clips done, 1 rendering, 1 failed, 1 uncertain\n"
        "  spent      $2.10 of $60.00\n"
        "  refund     $2.10 expected\n"
        "  failed     scale-it   provider: internal error\n"
        "  uncertain  lamp-es   $2.10, counts as spent\n"
        "  report     outputs/spring-launch/report.html\n"
        "  results    outputs/spring-launch/results.csv\n"
    )


def small_plan() -> Plan:
    plan = Plan()
    for number in range(3):
        plan.add(task(number, f"mug-{number}"), "new", "MUG-01")
    plan.add(task(7, "tumbler"), "new", "日本のタンブラー")
    return plan


def quote(plan: Plan, **more: Any) -> Quote:
    return Quote(
        run="spring-launch",
        model="Kling V3.0 4K",
        plan=plan,
        cap=usd(60),
        plan_id="3f9a1c",
        command=COMMAND,
        axis="product",
        **more,
    )


def test_the_plan_is_a_page() -> None:
    prompt = "A matte stone mug, slowly turning. " * 12
    page = plan_text(
        quote(
            small_plan(),
            product="product 2 x hook 2 = 4",
            first=First("mug-0", "cd091787", prompt),
            pace="3 at a time, 5 starts a minute",
            eta_s=1810,
        )
    )
    assert page == (
        "spring-launch   Kling V3.0 4K   4 clips   no run yet\n"
        "\n"
        "  product              clips   seconds       cost\n"
        "  MUG-01                   3        15      $6.30\n"
        "  日本のタンブラー         1         5      $2.10\n"
        "  -----------------------------------------------\n"
        "  to buy                   4        20      $8.40     "
        "cap $60.00, leaves $51.60\n"
        "\n"
        "  product 2 x hook 2 = 4\n"
        "  first prompt (mug-0, cd091787):\n"
        "    A matte stone mug, slowly turning. A matte stone mug, slowly turning. A\n"
        "    matte stone mug, slowly turning. A matte stone mug, slowly turning. A\n"
        "    matte stone mug, slowly turning. A matte stone mug, slowly turning. A …\n"
        "\n"
        "  pace 3 at a time, 5 starts a minute   about 30m (guess: no timings yet)\n"
        "  plan 3f9a1c   start with: batchgen run manifests/spring.yaml\n"
    )


def test_an_edited_manifest_shows_what_changed_in_signs_and_words() -> None:
    plan = small_plan()
    plan.add(task(8, "a"), "changed", "MUG-01")
    plan.add(task(9, "b"), "done", "MUG-01")
    plan.removed = ("c",)
    page = plan_text(quote(plan, fresh=False, done_cost=PRICE))
    assert page.splitlines()[2] == (
        "  + 4 new   ~ 1 changed   - 1 removed   = 1 done already ($2.10)"
    )


def test_a_plan_with_nothing_to_buy_has_no_table() -> None:
    plan = Plan()
    plan.add(MUG, "done", "mug")
    page = plan_text(quote(plan, fresh=False))
    assert page.splitlines()[2:] == [
        "  = 1 done already",
        "",
        "  nothing to buy",
        "",
        f"  plan 3f9a1c   start with: {COMMAND}",
    ]


def test_a_plan_over_its_cap_says_how_much_is_missing() -> None:
    page = plan_text(quote(small_plan(), committed=usd(55)))
    assert "cap $60.00, short by $3.40" in page


def test_a_plan_without_a_cap_says_so() -> None:
    page = plan_text(replace(quote(small_plan()), cap=None))
    assert "$8.40     no cap yet\n" in page


def test_rows_beyond_twenty_are_added_up() -> None:
    plan = Plan()
    for number in range(25):
        plan.add(task(number, f"clip-{number}"), "new", f"group-{number:02d}")
    lines = plan_text(quote(plan)).splitlines()
    assert "  (5 more)           5        25     $10.50" in lines
    assert not any("group-20" in line for line in lines)


@pytest.mark.parametrize(
    ("seconds", "exact", "guess"),
    [
        (0, "0s", "under 1m"),
        (8.4, "8s", "under 1m"),
        (59.6, "1m 00s", "about 1m"),
        (1868, "31m 08s", "about 31m"),
        (6000, "1h 40m", "about 1h 40m"),
        (360_000, "100h 00m", "about 100h 00m"),
    ],
)
def test_times_are_short(seconds: float, exact: str, guess: str) -> None:
    assert (words.duration(seconds), words.about(seconds)) == (exact, guess)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_940_000, "9.9 MB"),
        (9_960_000, "10 MB"),
        (498_000_000, "498 MB"),
        (1_240_000_000, "1.2 GB"),
    ],
)
def test_sizes_are_decimal(count: int, text: str) -> None:
    assert words.size(count) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1bPq\x1b\\after", "after"),
        ("\x1b", ""),
        ("a\tb\r\nc\u2028d", "a b c d"),
        ("\u202eevil\u2066x\u200fy\u061cz", "evilxyz"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("half \ud800", "half \ufffd"),
        ("bell\x07 back\x08 del\x7f", "bell back del"),
        ("é 日本 ✗", "é 日本 ✗"),
    ],
)
def test_nothing_in_a_safe_text_is_obeyed(text: str, expected: str) -> None:
    assert terminal.safe(text) == expected


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("mug", 3, "mug"),
        ("mugs", 3, "mu…"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("ne\u0301e", 3, "ne\u0301e"),
    ],
)
def test_a_cut_counts_columns(text: str, columns: int, expected: str) -> None:
    assert terminal.cut(text, columns) == expected


def test_scripts_without_spaces_wrap_anywhere() -> None:
    assert list(terminal.wrap("mug 日本語日本語 end", 7)) == [
        "mug",
        "日本語",
        "日本語",
        "end",
    ]


def test_times_of_a_document_are_read_in_utc() -> None:
    one = summary([MUG], told([MUG], done(MUG)))
    assert "today 09:31" in report.runs_text([one], NOW.astimezone(UTC))


def test_what_is_printable_is_safe_as_it_stands() -> None:
    printable = "".join(filter(str.isprintable, map(chr, range(sys.maxunicode + 1))))
    assert terminal.safe(printable) == printable
    assert terminal.safe("\t" + printable) == " " + printable  # looked at in full
