"""The report page as text: what is on it, and that nothing in it can be obeyed."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as changed

from batchgen import report
from batchgen.events import (
    AttemptAccepted,
    AttemptStarted,
    Event,
    OutputsSaved,
    PredictionCompleted,
    PredictionFailed,
    SavedFile,
    SessionOpened,
    TaskAbandoned,
    TaskPlanned,
)
from batchgen.models import catalog
from batchgen.money import usd
from batchgen.records import Record
from batchgen.report import Book, Part, Sheet
from batchgen.report.media import Media, flaws
from batchgen.report.page import page
from batchgen.report.timeline import thinned, timeline
from batchgen.report.troubles import troubles
from batchgen.tally import Tally
from batchgen.tasks import Task

MODEL = "kwaivgi/kling-v3.0-4k/text-to-video"
COMMAND = "batchgen run manifests/spring.yaml"
NASTY = "</script><img src=x onerror=alert(1)>\"'&\u2028"


def task(number: int, slug: str, prompt: str = "A mug", **labels: str) -> Task:
    return Task(
        id=f"{number:08x}".ljust(32, "0"),
        slug=slug,
        model=MODEL,
        input={"prompt": prompt, "duration": 5, "aspect_ratio": "9:16", "sound": True},
        take=1,
        price=usd("2.10"),
        seconds=5,
        labels=labels,
        output=f"{slug}.mp4",
    )


def story(one: Task, kind: str = "done", *, flagged: bool = False) -> list[Event]:
    events: list[Event] = [
        TaskPlanned(
            task=one.id,
            slug=one.slug,
            labels=one.labels,
            model=one.model,
            input=one.input,
            take=1,
            price=one.price,
            seconds=5,
            output=one.output,
        ),
        AttemptStarted(task=one.id, attempt=1, reserve=one.price),
        AttemptAccepted(task=one.id, attempt=1, prediction=f"p-{one.id[:8]}"),
    ]
    if kind == "rendering":
        return events
    if kind == "done":
        file = SavedFile(name=one.output, bytes=20_750_000, sha256=one.id * 2)
        return [
            *events,
            PredictionCompleted(
                task=one.id,
                attempt=1,
                outputs=(),
                inference_ms=1000,
                flagged=flagged,
            ),
            OutputsSaved(task=one.id, attempt=1, files=(file,)),
        ]
    what: dict[str, Any] = {"kind": kind, "message": f"it was {kind}."}
    return [
        *events,
        PredictionFailed(task=one.id, attempt=1, **what),
        TaskAbandoned(task=one.id, **what),
    ]


def book(
    tasks: Sequence[Task],
    *stories: Sequence[Event],
    media: Mapping[str, Media] | None = None,
    run: str = "spring",
    base: str = "",
) -> Book:
    opened = SessionOpened(
        tool="batchgen 0",
        pid=1,
        host="here",
        cap=usd(60),
        concurrency=3,
        manifest="abcdef" * 10,
        endpoint="https://api.example",
    )
    events = [opened, *(event for one in stories for event in one)]
    records = [
        Record(
            n,
            f"2026-11-22T{9 + n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d}.000Z",
            event,
        )
        for n, event in enumerate(events, 1)
    ]
    tally = Tally.of(records)
    tally.want(one.id for one in tasks)
    summary = report.summarise(
        run,
        report.Listed(tasks),
        tally,
        exit=0,
        reason="done",
        started_at="2026-11-22T09:00:00Z",
        wall_s=60,
        files={},
    )
    summary["command"], summary["plan"] = COMMAND, "3f9a1c"
    return Book(summary, tasks, records, tally, catalog(), media or {}, base)


def written(*books: Book) -> str:
    return page(books, version="1.2.3", made="2026-11-22 10:00 UTC")


def data(text: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text)
    assert found is not None
    return json.loads(found[1])


MUG = task(1, "mug-de", product="mug", locale="de")
KETTLE = task(2, "kettle-fr", product="kettle", locale="fr")
SCALE = task(3, "scale-it", product="scale", locale="fr")


def test_every_clip_is_on_the_page_once_in_order_with_what_it_cost() -> None:
    found = data(written(book([KETTLE, MUG], story(MUG), story(KETTLE, "provider"))))
    rows = [(row["s"], row["h"], row["t"], row["c"]) for row in found["clips"]]
    assert rows == [
        ("kettle-fr", "00000002", "failed", usd("2.10")),
        ("mug-de", "00000001", "done", usd("2.10")),
    ]
    assert found["clips"][1]["f"] == "videos/mug-de.mp4"
    assert found["axes"] == [["product", ["kettle", "mug"]], ["locale", ["fr", "de"]]]


def test_texts_from_outside_are_text() -> None:
    one = changed(task(1, "x", NASTY, note=NASTY), slug=NASTY)
    other = task(2, "y", note="plain")
    text = written(
        book([one, other], story(one, "moderation"), story(other), run=NASTY)
    )
    assert "<img src=x" not in text
    assert text.count("</script>") == 2
    found = data(text)
    assert found["prompts"][0] == NASTY
    assert found["clips"][0]["s"] == NASTY
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;" in text


def test_half_a_letter_does_not_stop_the_page() -> None:
    one = task(1, "x", "half \ud83d")
    written(book([one], story(one))).encode()


def test_only_the_one_script_may_run_and_nothing_may_load() -> None:
    text = written(book([MUG], story(MUG)))
    script = text.rsplit("<script>", 1)[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy[1].replace("&#39;", "'") == (
        f"default-src 'none'; script-src 'sha256-{digest}'; "
        "style-src 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self'"
    )
    assert not re.search(r'(src|href)="(https?:)?//', text)
    assert "@import" not in text
    assert "url(" not in text


def test_a_page_without_scripts_is_a_table_of_links() -> None:
    one = changed(MUG, output="Tasse blau #1.mp4")
    text = written(book([one, KETTLE], story(one), story(KETTLE, "moderation")))
    plain = text.split("<noscript>")[1].split("</noscript>")[0]
    assert 'href="videos/Tasse%20blau%20%231.mp4"' in plain
    assert "it was moderation." in plain


def test_problems_have_the_command_that_settles_exactly_them() -> None:
    tasks = [MUG, KETTLE, SCALE, *(task(n, f"more-{n}") for n in range(10, 14))]
    stories = [
        story(MUG, "provider"),
        story(KETTLE, "moderation"),
        story(SCALE, flagged=True),
        story(tasks[3], "rendering"),
        story(tasks[4], "cancelled"),
    ]
    found = [
        (one.head, one.reason, one.command) for one in troubles(book(tasks, *stories))
    ]
    assert found == [
        ("1 failed clip", "provider: it was provider", f"{COMMAND} -s mug-de"),
        ("1 failed clip", "cancelled: it was cancelled", f"{COMMAND} -s more-11"),
        (
            "1 rejected clip",
            "moderation: it was moderation",
            f"{COMMAND} -s status=rejected --retry rejected",
        ),
        ("1 flagged clip", "", ""),
        ("1 rendering clip", "", COMMAND),
        ("2 pending clips", "", COMMAND),
    ]


def test_a_rehearsal_says_how_its_picks_are_bought_in_full() -> None:
    made = book([MUG], story(MUG))
    assert "rehearsal" not in written(made)
    made.summary["command"] = "batchgen run 'my ads.yaml' --model kling-std --run try"
    text = written(made)
    assert "batchgen run &#39;my ads.yaml&#39; --run try --select @picks.csv" in text
    assert "a final clip will not equal the rehearsed one" in text


def test_many_clips_and_odd_names_are_chosen_by_their_hashes() -> None:
    odd = task(1, "mug *", product="a")
    many = [task(n, f"m-{n}") for n in range(20, 28)]
    found = troubles(
        book(
            [odd, *many],
            story(odd, "provider"),
            *(story(one, "cancelled") for one in many),
        )
    )
    assert found[0].command == f"{COMMAND} -s 00000001"
    assert found[1].command.startswith(f"{COMMAND} -s 00000014 -s 00000015")
    assert found[1].command.count(" -s ") == 8


def test_a_clip_that_is_no_longer_ordered_is_told_about() -> None:
    found = book([MUG], story(MUG), story(KETTLE))
    assert [(one.status, len(one.clips)) for one in troubles(found)] == [("removed", 1)]
    assert [row["t"] for row in data(written(found))["clips"]] == ["done", "removed"]


def test_what_was_paid_for_and_is_wrong_is_flagged() -> None:
    media = {MUG.id * 2: Media(3.0, 1080, 1080, audio=False, poster="posters/a.jpg")}
    found = book([MUG, KETTLE], story(MUG), story(KETTLE), media=media)
    (trouble,) = troubles(found)
    assert trouble.reason == (
        "3.0 s long, 5 s were ordered; 1080 x 1080 pixels, 9:16 was ordered; "
        "no sound track, sound was ordered"
    )
    assert trouble.command == f"{COMMAND} -s mug-de --again"
    row = data(written(found))["clips"][0]
    assert (row["p"], row["a"]) == ("posters/a.jpg", "1080:1080")


@pytest.mark.parametrize(
    ("media", "expected"),
    [
        (Media(5.04, 2160, 3840, audio=True), []),
        (Media(5.0, 2160, 3840, audio=False), ["no sound track, sound was ordered"]),
        (Media(5.0, 1080, 1920, audio=True), ["1080 x 1920 pixels, 4K was ordered"]),
        (Media(4.2, 2160, 3840, audio=True), ["4.2 s long, 5 s were ordered"]),
        (Media(5.0, 3840, 2160, audio=True), ["3840 x 2160 pixels, 9:16 was ordered"]),
    ],
)
def test_a_clip_is_measured_against_the_request(
    media: Media, expected: list[str]
) -> None:
    assert list(flaws(media, MUG.input, MODEL)) == expected


def test_several_runs_share_a_page_and_are_told_apart() -> None:
    first = book([MUG], story(MUG), run="spring", base="spring/")
    second = book([KETTLE], story(KETTLE), run="autumn", base="autumn/")
    text = written(first, second)
    found = data(text)
    assert found["axes"][0] == ["run", ["spring", "autumn"]]
    assert [row["base"] for row in found["runs"]] == ["spring/", "autumn/"]
    assert "<title>spring + autumn</title>" in text
    assert 'href="autumn/videos/kettle-fr.mp4"' in text
    assert "$4.20" in text


def test_the_footer_proves_where_the_page_comes_from() -> None:
    footer = written(book([MUG], story(MUG))).split("<footer>")[1]
    for fact in ("abcdefabcdef", "3f9a1c", MODEL, "$0.42 a second", "batchgen 1.2.3"):
        assert fact in footer


BUCKET = "s3://clips/night/spring"


def in_a_bucket(one: Task) -> list[Event]:
    return [
        changed(event, files=tuple(changed(f, store=BUCKET) for f in event.files))
        if isinstance(event, OutputsSaved)
        else event
        for event in story(one)
    ]


def test_an_object_is_opened_by_its_link_and_loads_nothing() -> None:
    link = "https://clips.s3.amazonaws.com/x.mp4?X-Amz-Signature=5&X-Amz-Date=6"
    made = replace(
        book([MUG], in_a_bucket(MUG)),
        links={(BUCKET, MUG.output): link},
        until="2026-11-29T20:00:00.000Z",
    )
    text = written(made)
    (clip,) = data(text)["clips"]
    assert clip["f"] == f"{BUCKET}/{MUG.output}"
    assert (clip["j"], clip["v"]) == (link, 1)
    assert f'<a href="{link.replace("&", "&amp;")}" rel="noopener">' in text
    footer = text.split("<footer>")[1]
    assert BUCKET in footer
    assert "2026-11-29T20:00" in footer
    assert "media-src &#39;self&#39;" in text
    bare = written(book([MUG], in_a_bucket(MUG)))
    assert "j" not in data(bare)["clips"][0]
    assert f"{BUCKET}/{MUG.output}</td>" in bare


def test_the_time_between_two_sessions_is_left_out() -> None:
    first = book([MUG], story(MUG)).records
    again = changed(first[0], n=99, at="2026-11-25T20:00:00.000Z")
    last = changed(first[-1], n=100, at="2026-11-25T20:00:10.000Z")
    found = timeline([*first, again, last])
    assert found.sessions == 2
    assert found.length == 5.0 + 10.0


def test_a_thinned_line_keeps_its_peaks_and_its_end() -> None:
    points = [(float(n), 1.0) for n in range(1000)]
    points[500] = (500.0, 9.0)
    found = thinned(points, 50)
    assert len(found) <= 52
    assert (500.0, 9.0) in found
    assert found[-1] == (999.0, 1.0)


def test_a_run_that_bought_nothing_has_a_page() -> None:
    assert data(written(book([MUG])))["clips"][0]["t"] == "pending"


def test_the_columns_of_a_sheet_survive_a_report_without_the_sheet() -> None:
    first = book([MUG, KETTLE], story(MUG))
    sheet = Sheet(("Titel", "Notiz"), {MUG.id: ("Tasse", "=1+1"), KETTLE.id: ("日本",)})
    text = report.results_csv([MUG, KETTLE], first.tally, sheet)
    kept = report.kept_columns(text, [MUG, KETTLE])
    assert report.results_csv([MUG, KETTLE], first.tally, kept) == text
    assert report.kept_columns("a,b\n1,2\n", [MUG]) is None


def test_several_runs_share_a_sheet_with_all_their_columns() -> None:
    first, second = book([MUG], story(MUG)), book([SCALE], story(SCALE))
    sheet = Sheet(("locale", "Titel"), {SCALE.id: ("it", "Waage")})
    text = report.joined_csv(
        [Part("a", [MUG], first.tally), Part("b", [SCALE], second.tally, sheet)]
    )
    assert [line.split(",")[:5] for line in text.splitlines()] == [
        ["\ufeffproduct", "locale", "Titel", "bg_run", "bg_slug"],
        ["mug", "de", "", "a", "mug-de"],
        ["", "it", "Waage", "b", "scale-it"],
    ]
