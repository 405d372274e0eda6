"""What an answer of the generation API means: bytes in, facts or errors out."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from batchgen.answers import (
    Answer,
    Prediction,
    accepted,
    output,
    prediction,
    read,
    retry_after,
    when,
)
from batchgen.errors import ApiError, Refused, Unavailable, Uncertain
from batchgen.events import Output

DATE = "Thu, 01 Oct 2026 12:00:00 GMT"


def answer(
    http: int, body: object = b"", headers: Mapping[str, str] | None = None
) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(http, headers or {}, raw)


def says(code: int, message: str = "no", **data: Any) -> dict[str, Any]:
    return {"code": code, "message": message, **({"data": data} if data else {})}


def verdict(given: Answer) -> str:
    """One word for what came of a submission."""
    try:
        return f"accepted {accepted(given).id}"
    except Refused as no:
        return f"refused {no.kind} {'again' if no.retryable else 'never'}"
    except Uncertain:
        return "uncertain"


TAKEN = says(200, "success", id="p1", status="created", model="acme/video")


@pytest.mark.parametrize(
    ("http", "body", "expected"),
    [
        (200, TAKEN, "accepted p1"),
        (201, TAKEN, "accepted p1"),
        (202, TAKEN, "accepted p1"),
        (200, says(200, id="p1", status="failed"), "accepted p1"),
        (200, {"data": {"id": "A-z_09"}}, "accepted A-z_09"),
        (200, {"data": {"id": "x" * 128}}, "accepted " + "x" * 128),
        # 2xx that names no prediction: money has probably moved.
        (200, {"data": {"id": "x" * 129}}, "uncertain"),
        (200, {"data": {"id": "../p"}}, "uncertain"),
        (200, {"data": {"id": "p 1"}}, "uncertain"),
        (200, {"data": {"id": "p1\n"}}, "uncertain"),
        (200, {"data": {"id": ""}}, "uncertain"),
        (200, {"data": {"id": None}}, "uncertain"),
        (200, {"data": {}}, "uncertain"),
        (200, {"data": None}, "uncertain"),
        (200, {"data": [TAKEN]}, "uncertain"),
        (200, {"id": "p1"}, "uncertain"),
        (200, [], "uncertain"),
        (200, b"", "uncertain"),
        (200, b"<html>ok</html>", "uncertain"),
        (200, b'{"data":{"id":"p1"', "uncertain"),
        (200, b'{"data":{"id":"p1","x":NaN}}', "uncertain"),
        (200, b"[" * 100_000, "uncertain"),
        (204, b"", "uncertain"),
        (200, says(400, "bad prompt"), "uncertain"),
        (200, says(401, "who are you"), "uncertain"),
        (200, says(500, "oops"), "uncertain"),
        # The envelope says what the status does not.
        (
            200,
            says(400, "Insufficient credits. Top up."),
            "refused credit again",
        ),
        (200, says(402, "pay"), "refused credit again"),
        (200, says(1407, "pay"), "refused credit again"),
        (200, says(402, "pay", id="p1"), "accepted p1"),
        (200, says(200, "Insufficient credits soon", id="p1"), "accepted p1"),
        (400, says(400, "Insufficient credits"), "refused credit again"),
        (400, b"Insufficient credits", "refused credit again"),
        (402, b"", "refused credit again"),
        (402, says(402, "pay"), "refused credit again"),
        # The key.
        (401, says(401), "refused key again"),
        (403, b"<html>", "refused key again"),
        # Too fast.
        (429, says(429), "refused rate again"),
        (429, b"", "refused rate again"),
        # The request is wrong.
        (404, says(404), "refused model never"),
        *(
            (status, says(status), "refused invalid never")
            for status in (400, 405, 406, 411, 413, 414, 415, 421, 422)
        ),
        *(
            (status, says(status), "refused invalid never")
            for status in (426, 428, 431, 451, 501, 505)
        ),
        # A no that names a prediction is none.
        *(
            (status, says(status, "no", id=name), "uncertain")
            for status in (400, 401, 402, 403, 404, 422, 429, 501)
            for name in ("p1", "../p", 7)
        ),
        (400, says(400, "Insufficient credits", id="p1"), "uncertain"),
        (400, says(400, "no", id=""), "refused invalid never"),
        (400, says(400, "no", id=None, status="x"), "refused invalid never"),
        # All else is in doubt, whatever it says.
        *((status, says(status, "x"), "uncertain") for status in (301, 302, 307, 308)),
        *((status, says(status, "x"), "uncertain") for status in (408, 409, 423, 425)),
        *((status, says(status, "x"), "uncertain") for status in (500, 502, 503, 504)),
        *((status, says(status, "x"), "uncertain") for status in (507, 508, 520, 530)),
        *((status, says(status, "x"), "uncertain") for status in (300, 457, 599)),
        (502, b"<html>Bad gateway</html>", "uncertain"),
        (500, TAKEN, "uncertain"),
        (500, says(500, "Insufficient credits"), "uncertain"),
        (409, says(1407, "Insufficient credits"), "uncertain"),
        (302, says(402, "Insufficient credits"), "uncertain"),
    ],
)
def test_every_answer_to_a_submission_has_one_meaning(
    http: int, body: object, expected: str
) -> None:
    assert verdict(answer(http, body)) == expected


@pytest.mark.parametrize("status", range(200, 600))
def test_no_status_is_refused_that_the_list_does_not_name(status: int) -> None:
    definite = {400, 401, 402, 403, 404, 405, 406, 411, 413, 414, 415, 421, 422}
    definite |= {426, 428, 429, 431, 451, 501, 505}
    found = verdict(answer(status, says(status))).split()[0]
    assert found == ("refused" if status in definite else "uncertain")


@pytest.mark.parametrize(
    "body",
    [
        {"code": [], "data": {"id": "p1"}},
        {"code": {}, "data": {"id": "p1"}},
        {"code": {"a": 1}, "message": [], "data": {"id": "p1", "status": 7}},
        {"data": {"id": "p1", "outputs": [1, None, {"a": []}], "timings": []}},
        {"data": {"id": "p1", "has_nsfw_contents": "yes", "urls": 1, "input": 3}},
        {"data": {"id": "p1", "outputs": "https://cdn.example/a.mp4"}},
        {"data": {"id": "p1", "outputs": ["https://cdn.example/\ud800.mp4"]}},
    ],
)
def test_an_id_is_never_lost_because_of_odd_company(body: object) -> None:
    assert verdict(answer(200, body)) == "accepted p1"


@pytest.mark.parametrize("status", [200, 400, 404, 429, 500])
@pytest.mark.parametrize(
    "code", [[], {}, "402", 402.0, True, None, 10**400, -1], ids=str
)
def test_no_form_of_the_code_is_a_crash(status: int, code: object) -> None:
    assert verdict(answer(status, {"code": code, "message": "x"}))


@pytest.mark.parametrize("identity", [True, 1.5, ["p"], {"a": 1}])
def test_only_text_is_an_id(identity: object) -> None:
    assert verdict(answer(200, {"data": {"id": identity}})) == "uncertain"


def test_a_doubt_keeps_the_beginning_of_what_came() -> None:
    with pytest.raises(Uncertain) as caught:
        accepted(answer(502, b"<html>\xff" + b"x" * 10_000))
    assert caught.value.evidence.startswith("<html>\N{REPLACEMENT CHARACTER}xx")
    assert len(caught.value.evidence) == 8192
    assert (caught.value.http, caught.value.phase) == (502, "answered")


def test_a_message_may_be_long_and_the_error_is_not() -> None:
    """It becomes a line of the journal, which has room for 64 KiB."""
    with pytest.raises(ApiError) as caught:
        accepted(answer(500, says(500, "x" * 100_000)))
    assert len(caught.value.message) < 16_384


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 7.5 "}, 7.5),
        ({"retry-after": "0"}, 1.0),
        ({"retry-after": "99999"}, 3600.0),
        ({"retry-after": "inf"}, 3600.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
        ({"retry-after": "Thu, 01 Oct 2026 12:00:30 GMT", "date": DATE}, 30.0),
        ({"retry-after": "Thu, 01 Oct 2026 11:00:00 GMT", "date": DATE}, None),
        ({"retry-after": "Fri, 02 Oct 2026 12:00:00 GMT", "date": DATE}, 3600.0),
        ({"retry-after": "Thu, 01 Oct 2026 12:00:30 GMT"}, None),
        ({"retry-after": "Thu, 01 Oct 99999999999999999999 12:00:00 GMT"}, None),
    ],
)
def test_a_wait_is_as_told_within_reason(
    headers: Mapping[str, str], seconds: float | None
) -> None:
    assert retry_after(headers) == seconds
    with pytest.raises(Refused) as caught:
        accepted(answer(429, b"", headers))
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (DATE, datetime(2026, 10, 1, 12, tzinfo=UTC)),
        ("2026-10-01T12:00:00Z", datetime(2026, 10, 1, 12, tzinfo=UTC)),
        ("2026-10-01T14:00:00+02:00", datetime(2026, 10, 1, 12, tzinfo=UTC)),
        ("2026-10-01T12:00:00", datetime(2026, 10, 1, 12, tzinfo=UTC)),
        (
            "2026-10-01T12:00:00.123456789Z",
            datetime(2026, 10, 1, 12, 0, 0, 123456, tzinfo=UTC),
        ),
        ("", None),
        ("yesterday", None),
        ("2026-13-01T00:00:00Z", None),
        ("Thu, 01 Oct 99999999999999999999 12:00:00 GMT", None),
        ("Thu, 01 Oct 2026 12:00:00 +99999999999999999999", None),
    ],
)
def test_times_are_read_or_left_out(text: str, moment: datetime | None) -> None:
    assert when(text) == moment


@pytest.mark.parametrize(
    ("http", "body", "what"),
    [
        (404, says(404, "no such thing"), "no such thing"),
        (500, b"<html>", "HTTP 500"),
        (200, b"", "HTTP 200"),
        (201, TAKEN, "success"),
        (200, says(500, "half dead"), "half dead"),
        (200, says(200, ""), "an answer without data"),
        (200, {"data": []}, "an answer without data"),
        (302, TAKEN, "success"),
    ],
)
def test_a_reading_needs_a_whole_envelope(http: int, body: object, what: str) -> None:
    with pytest.raises(Unavailable, match=what):
        read(answer(http, body))


def test_a_reading_is_the_data_of_its_envelope() -> None:
    assert read(answer(200, TAKEN)) == TAKEN["data"]
    assert read(answer(200, {"data": {"a": 1}})) == {"a": 1}


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("completed", "done"),
        ("Succeeded", "done"),
        ("failed", "failed"),
        ("timeout", "failed"),
        ("cancelled", "cancelled"),
        ("canceled", "cancelled"),
        ("deleted", "gone"),
        ("created", "waiting"),
        ("processing", "waiting"),
        ("a word of next year", "waiting"),
        (None, "waiting"),
    ],
)
def test_only_known_words_end_the_waiting(word: object, meaning: str) -> None:
    assert prediction({"id": "p", "status": word}).meaning == meaning


def test_a_prediction_is_read_with_all_its_fields() -> None:
    found = prediction(
        {
            "id": "p1",
            "model": "acme/video",
            "status": "completed",
            "outputs": ["https://cdn.example/a/b.mp4?sig=secret", {"text": "hi"}],
            "has_nsfw_contents": [False, True],
            "timings": {"inference": 90_000},
            "created_at": "2026-10-01T12:00:00Z",
            "inputs": {"prompt": "a"},
            "code": 200,
        }
    )
    assert found == Prediction(
        id="p1",
        model="acme/video",
        meaning="done",
        word="completed",
        urls=("https://cdn.example/a/b.mp4?sig=secret",),
        outputs=(
            Output(kind="url", host="cdn.example", path="/a/b.mp4"),
            Output(kind="json", value={"text": "hi"}),
        ),
        error="",
        code=200,
        flagged=True,
        inference_ms=90_000,
        created_at="2026-10-01T12:00:00Z",
        inputs={"prompt": "a"},
    )


def test_a_signature_is_never_kept() -> None:
    assert "secret" not in repr(output("https://cdn.example/a.mp4?token=secret"))
