"""One line of the journal, and the verdict on every damaged file."""

import json
from collections.abc import Callable, Iterable
from itertools import product
from zlib import crc32

import pytest

from batchgen.errors import JournalDamaged, JournalError
from batchgen.events import (
    KNOWN,
    AttemptAbsent,
    AttemptAccepted,
    AttemptNotSent,
    AttemptRefused,
    AttemptStarted,
    AttemptUncertain,
    ClockJumped,
    CostSettled,
    ElementKnown,
    Event,
    Imported,
    MediaUploaded,
    Move,
    Output,
    OutputsMissing,
    OutputsMoved,
    OutputsSaved,
    PredictionCompleted,
    PredictionFailed,
    Repaired,
    Resealed,
    SavedFile,
    SessionClosed,
    SessionOpened,
    TaskAbandoned,
    TaskPlanned,
    Window,
)
from batchgen.records import MAX_LINE, Record, encode
from batchgen.replay import Replay, replay

TASK = "0123456789abcdef" * 2
REF = "sha256:" + TASK * 2
AT = "2026-10-01T12:00:00.000Z"
WINDOW = Window(since=AT, until="2026-10-01T12:02:00.000Z")

EVENTS: tuple[Event, ...] = (
    SessionOpened(
        tool="batchgen 1",
        pid=7,
        host="höst",
        boot="b",
        cap=52_080_000,
        concurrency=3,
        manifest="sha",
        endpoint="https://api.example",
        key="0a1b2c3d",
        clock_offset_ms=-12,
    ),
    TaskPlanned(
        task=TASK,
        slug="cat",
        labels={"locale": "日本"},
        model="acme/video",
        input={"prompt": 'a "cat"\n\u2028😀', "duration": 5, "cfg": 0.5, "x": [None]},
        take=1,
        price=420_000,
        seconds=5,
        output="cat.mp4",
    ),
    AttemptStarted(task=TASK, attempt=1, reserve=420_000),
    AttemptUncertain(
        task=TASK,
        attempt=1,
        phase="no answer",
        error="ReadTimeout",
        window=WINDOW,
        evidence='{"c":"deadbeef"}',
    ),
    AttemptAbsent(task=TASK, attempt=1, scans=2, window=WINDOW, by="retry absent"),
    AttemptStarted(task=TASK, attempt=2, reserve=420_000),
    AttemptRefused(
        task=TASK,
        attempt=2,
        kind="rate",
        message="slow",
        http=429,
        retryable=True,
        retry_after_ms=7000,
    ),
    AttemptStarted(task=TASK, attempt=3, reserve=420_000),
    AttemptNotSent(task=TASK, attempt=3, phase="connect_tcp", error="refused"),
    AttemptStarted(task=TASK, attempt=4, reserve=420_000),
    AttemptAccepted(
        task=TASK,
        attempt=4,
        prediction="aB-_9",
        via="history",
        http=200,
        server_date="Thu, 01 Oct 2026 12:00:00 GMT",
        latency_ms=120,
        note="ambiguous",
    ),
    PredictionFailed(
        task=TASK, attempt=4, kind="provider", message="no GPU", code=5000
    ),
    CostSettled(task=TASK, attempt=4, amount=0),
    PredictionCompleted(
        task=TASK,
        attempt=4,
        outputs=(
            Output(kind="url", host="cdn.example", path="/a.mp4"),
            Output(kind="json", value={"a": [1, "b", None, True]}),
        ),
        inference_ms=90_000,
        flagged=True,
        cost=420_000,
    ),
    OutputsSaved(
        task=TASK,
        attempt=4,
        files=(SavedFile(name="cat.mp4", bytes=9, sha256="f" * 64, validator='"e"'),),
    ),
    OutputsMoved(task=TASK, moves=(Move(source="cat.mp4", target="a/cat.mp4"),)),
    OutputsMissing(task=TASK, names=("a/cat.mp4",)),
    TaskAbandoned(task=TASK, kind="lost", message="gone"),
    Repaired(bytes=17, kept="torn-18-0a1b2c3d"),
    Resealed(what="edited", by="ann@desk", lines=(3, 4)),
    Imported(source="rescue-1.jsonl", accepted=1),
    ClockJumped(ahead_ms=-7_200_000),
    MediaUploaded(ref=REF, url="https://cdn.example/ä.jpg", until=AT),
    ElementKnown(ref=REF, element_id="307212335131305"),
    SessionClosed(exit=6, reason="lost", spent=420_000, committed=840_000),
)
RECORDS = tuple(Record(n, AT, event) for n, event in enumerate(EVENTS, 1))
LINES = tuple(encode(record) for record in RECORDS)
FILE = b"".join(LINES)


def sealed(body: str) -> bytes:
    """A line as a hand would make it, with a checksum that fits."""
    head = body.encode()[:-1]
    return head + b',"c":"%08x"}\n' % crc32(head)


def _of(kind: str, **fields: object) -> str:
    head = {"v": 1, "n": 1, "t": kind, "at": AT, "task": TASK, "attempt": 1}
    return json.dumps(head | fields, separators=(",", ":"))


def prefix(found: Replay) -> int:
    """How many records are left; they are the first ones, unchanged."""
    assert found.records == RECORDS[: len(found.records)]
    assert found.last == len(found.records)
    return found.last


def test_the_records_tell_every_kind_of_event() -> None:
    assert {event.t for event in EVENTS} == KNOWN


def test_what_was_written_is_read_back() -> None:
    found = replay(FILE)
    assert found.records == RECORDS
    assert (found.last, found.keep, found.torn, found.unended) == (
        len(RECORDS),
        len(FILE),
        b"",
        False,
    )


@pytest.mark.parametrize(
    "line", LINES, ids=[record.event.t + str(record.n) for record in RECORDS]
)
def test_a_line_is_ascii_with_a_fixed_head_and_a_tail_of_sixteen_bytes(
    line: bytes,
) -> None:
    assert line.isascii()
    assert line.count(b"\n") == 1
    value = json.loads(line)
    assert list(value)[:4] == ["v", "n", "t", "at"]
    body, tail = line[:-17], line[-17:-1]
    assert tail == b',"c":"%08x"}' % crc32(body)
    assert value["c"] == f"{crc32(body):08x}"


def test_no_money_is_written_as_a_number() -> None:
    for line in LINES:
        value = json.loads(line)
        amounts = {"cap", "price", "reserve", "amount", "cost", "spent", "committed"}
        for name in amounts & value.keys():
            assert value[name] is None or isinstance(value[name], str)


def test_an_empty_file_is_a_journal_that_has_not_begun() -> None:
    assert replay(b"") == Replay(0, 0, b"", unended=False, records=())


def test_a_cut_at_every_byte_keeps_every_whole_line() -> None:
    ends = [0]
    for line in LINES:
        ends.append(ends[-1] + len(line))
    for length in range(len(FILE)):
        found = replay(FILE[:length])
        whole = sum(end <= length for end in ends) - 1
        lacks_only_its_end = length + 1 in ends
        assert prefix(found) == whole + lacks_only_its_end
        assert found.unended is lacks_only_its_end
        kept = length if lacks_only_its_end else ends[whole]
        assert found.keep == kept
        assert found.torn == FILE[kept:length]


def flip_each(number: int, places: Iterable[tuple[int, int]]) -> None:
    """Only the end of the file may get shorter: there the high-water mark watches."""
    before, line = b"".join(LINES[:number]), LINES[number]
    after = b"".join(LINES[number + 1 :])
    for place, bit in places:
        flipped = bytearray(line)
        flipped[place] ^= 1 << bit
        try:
            found = replay(before + flipped + after)
        except JournalDamaged:
            continue
        lost_from_here = place == len(line) - 1 and number >= len(LINES) - 2
        assert number == len(LINES) - 1 or lost_from_here
        assert prefix(found) >= len(LINES) - 2


@pytest.mark.parametrize("number", range(len(LINES)))
def test_no_flipped_bit_loses_a_record_in_the_middle_unseen(number: int) -> None:
    """A bit of each byte, another one each time, and all those of the line's end."""
    size = len(LINES[number])
    flip_each(number, ((place, (place + number) % 8) for place in range(size)))
    flip_each(number, product(range(size - 3, size), range(8)))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(LINES)))
def test_no_flipped_bit_at_all_loses_a_record_unseen(number: int) -> None:
    flip_each(number, product(range(len(LINES[number])), range(8)))


def test_lines_written_twice_count_once() -> None:
    for number, line in enumerate(LINES):
        doubled = [*LINES[: number + 1], line, *LINES[number + 1 :]]
        assert replay(b"".join(doubled)).records == RECORDS
    assert replay(FILE + FILE).records == RECORDS


def test_a_line_written_twice_with_another_content_is_refused() -> None:
    other = encode(Record(5, AT, AttemptStarted(task=TASK, attempt=9, reserve=1)))
    with pytest.raises(JournalDamaged, match="repeats record 5 with another content"):
        replay(FILE + other)


@pytest.mark.parametrize("number", range(len(LINES) - 1))
def test_a_missing_line_is_refused(number: int) -> None:
    with pytest.raises(JournalDamaged, match=f"record {number + 1} is missing"):
        replay(b"".join([*LINES[:number], *LINES[number + 1 :]]))


@pytest.mark.parametrize("number", range(len(LINES) - 1))
def test_swapped_lines_are_refused(number: int) -> None:
    lines = list(LINES)
    lines[number], lines[number + 1] = lines[number + 1], lines[number]
    with pytest.raises(JournalDamaged, match="is missing"):
        replay(b"".join(lines))


@pytest.mark.parametrize(
    "junk", [b"\0" * 512 + b"\n", b"\n", b"\n\n\n", b"junk\n", b"[1]\n", b'{"v":1\n']
)
def test_junk_between_records_is_an_attempt_that_was_never_acknowledged(
    junk: bytes,
) -> None:
    for number in range(len(LINES) + 1):
        data = b"".join([*LINES[:number], junk, *LINES[number:]])
        found = replay(data)
        assert found.records == RECORDS
        assert found.torn == b""


@pytest.mark.parametrize(
    "tail", [b"\0", b"\0" * 4096, b"{", b'{"v":1,"n":99,"t":"Att', b"\xff\xfe"]
)
def test_an_unended_tail_of_junk_is_torn(tail: bytes) -> None:
    found = replay(FILE + tail)
    assert (prefix(found), found.keep, found.torn) == (len(RECORDS), len(FILE), tail)


def test_zeros_over_a_record_in_the_middle_are_refused() -> None:
    for number in range(len(LINES) - 1):
        zeros = b"\0" * (len(LINES[number]) - 1) + b"\n"
        with pytest.raises(JournalDamaged, match="is missing"):
            replay(b"".join([*LINES[:number], zeros, *LINES[number + 1 :]]))


def test_a_record_glued_to_a_torn_one_is_missed_and_refused() -> None:
    glued = b"".join([*LINES[:4], LINES[4][:-9], *LINES[5:]])
    with pytest.raises(JournalDamaged, match="record 5 is missing"):
        replay(glued)


def test_an_edited_line_is_refused_even_at_the_end() -> None:
    edited = FILE.replace(b'"spent":"420000"', b'"spent":"42"')
    assert edited != FILE
    with pytest.raises(
        JournalDamaged, match=rf"line {len(RECORDS)} .* was edited or damaged"
    ):
        replay(edited)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ('{"v":2,"n":1,"t":"Repaired","at":"","bytes":1,"kept":""}', "newer batchgen"),
        ('{"n":1,"t":"Repaired","at":"","bytes":1,"kept":""}', "newer batchgen"),
        ('{"v":1,"n":0,"t":"Repaired","at":"","bytes":1,"kept":""}', "no number"),
        ('{"v":1,"n":"1","t":"Repaired","at":"","bytes":1,"kept":""}', "no number"),
        ('{"v":1,"n":1.0,"t":"Repaired","at":"","bytes":1,"kept":""}', "no number"),
        ('{"v":1,"t":"Repaired","at":"","bytes":1,"kept":""}', "no number"),
        ('{"v":1,"n":2,"t":"Repaired","at":"","bytes":1,"kept":""}', "1 is missing"),
        ('{"v":1,"n":1,"t":"Refunded","at":""}', "does not know"),
        ('{"v":1,"n":1,"at":""}', "does not know"),
        ('{"v":1,"n":1,"t":"Repaired","at":"","kept":""}', "not a proper Repaired"),
        (
            _of("AttemptStarted", reserve=0.42),
            "not a proper AttemptStarted",
        ),
        (
            _of("AttemptAccepted", prediction="../x"),
            "not a proper AttemptAccepted",
        ),
        *(
            (_of("AttemptStarted", task=task, reserve="1"), "not a proper Attempt")
            for task in ("A" * 32, "g" * 32, "a" * 31 + " ", "../" + "a" * 29)
        ),
    ],
)
def test_a_line_with_a_good_checksum_can_still_be_unfit(body: str, what: str) -> None:
    with pytest.raises(JournalDamaged, match=what) as caught:
        replay(sealed(body))
    assert "Nothing was submitted" in caught.value.advice


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_constant_that_json_does_not_know_makes_a_line_junk(constant: str) -> None:
    line = sealed(f'{{"v":1,"n":1,"t":"Repaired","bytes":{constant},"kept":""}}')
    assert replay(line).last == 0
    assert replay(line).torn == b""


def test_experiments_are_counted_and_ignored() -> None:
    n = len(RECORDS) + 1
    line = sealed(f'{{"v":1,"n":{n},"t":"x-note","at":"","text":"hi"}}')
    found = replay(FILE + line)
    assert found.records == RECORDS
    assert found.last == n
    with pytest.raises(JournalDamaged, match="is missing"):
        replay(b"".join(LINES[:-1]) + line)


def test_fields_of_a_newer_writer_are_ignored() -> None:
    line = sealed(
        '{"v":1,"n":1,"t":"Repaired","at":"","bytes":1,"kept":"k","new":{"a":1}}'
    )
    assert replay(line).records == (Record(1, "", Repaired(bytes=1, kept="k")),)


def test_deep_nesting_is_junk_and_no_crash() -> None:
    assert replay(b'{"a":' + b"[" * 600_000 + b"\n").last == 0


@pytest.mark.parametrize("spare", [0, 1])
def test_a_line_of_64_kib_fits_and_one_byte_more_does_not(spare: int) -> None:
    def kept(length: int) -> Record:
        return Record(1, AT, Repaired(bytes=1, kept="x" * length))

    room = MAX_LINE - len(encode(kept(0)))
    attempt: Callable[[], bytes] = lambda: encode(kept(room + spare))  # noqa: E731
    if spare:
        with pytest.raises(JournalError, match="does not fit"):
            attempt()
    else:
        assert len(attempt()) == MAX_LINE
