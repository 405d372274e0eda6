"""Each fault: what a client sees of it, and what the till says."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from visitor import MODEL, Visitor, visiting

from batchgen.cli import batchgen
from batchgen.sandbox.switches import SWITCHES

FREE: dict[str, tuple[object, str]] = {
    # what a submission is told; nothing is charged
    "drop_before_accept": ("closed", ""),
    "reset_before_accept": ("closed", ""),
    "refuse_400": (400, "not acceptable"),
    "refuse_401": (401, "Invalid API key"),
    "refuse_403": (403, "permission_denied"),
    "refuse_404": (404, "not found"),
    "refuse_413": (413, "too large"),
    "refuse_422": (422, "not acceptable"),
    "refuse_429": (429, "rate limit"),
    "refuse_429_date": (429, "Rate limit exceeded"),
    "refuse_429_concurrency": (429, "reached your concurrency limit"),
    "no_credit": (400, '"code":400,"message":"Insufficient credits.'),
    "no_credit_200": (200, '"code":400,"message":"Insufficient credits.'),
    "no_credit_1407": (400, '"code":1407,"message":"Insufficient credits.'),
    "server_500_not_created": (500, "internal server error"),
    "server_503_not_created": (503, "<html>"),
    "server_504_not_created": (504, "<html>"),
    "html_502_not_created": (502, "<html>"),
}
LOST: dict[str, tuple[object, str]] = {
    # the same where one prediction is charged
    "drop_after_accept": ("closed", ""),
    "reset_after_accept": ("closed", ""),
    "accept_502_html": (502, "<html>"),
    "accept_504_html": (504, "<html>"),
    "accept_500": (500, "internal server error"),
    "accept_429": (429, "rate limit"),
    "accept_half_json": (200, '"status":"created"'),
    "accept_cut_short": ("closed", ""),
    "accept_no_id": (200, '"data":{"model"'),
    "accept_empty": (200, ""),
    "slow_answer=0.05": (200, '"status":"created"'),
    "late_accept=0.01": (200, '"status":"created"'),
    "id_path": (200, '"id":"../../'),
    "sync_completed": (200, '"status":"completed","outputs":["http'),
    "sync_timeout": (200, '"code":5004'),
    "result_404_first": (200, '"status":"created"'),
    "stuck": (200, '"status":"created"'),
}
ENDS: dict[str, tuple[dict[str, Any], bool]] = {
    # how a prediction ends, and whether it is paid back
    "fail_provider": ({"status": "failed", "code": 5000, "outputs": []}, True),
    "fail_provider=1406": ({"status": "failed", "code": 1406}, True),
    "fail_provider,refund_never": ({"status": "failed", "code": 5000}, False),
    "fail_provider,refund_late": ({"status": "failed", "code": 5000}, False),
    "fail_moderation": ({"status": "failed", "code": 1200}, False),
    "fail_invalid": ({"status": "failed", "code": 1401}, False),
    "fail_media": ({"status": "failed", "code": 1402}, False),
    "fail_credit": ({"status": "failed", "code": 1407}, False),
    "fail_without_code": ({"status": "failed", "error": ""}, False),
    "status_cancelled": ({"status": "cancelled"}, True),
    "status_canceled": ({"status": "canceled"}, True),
    "status_timeout": ({"status": "timeout"}, True),
    "status_deleted": ({"status": "deleted", "outputs": []}, False),
    "status_odd": ({"status": "paused"}, False),
    "status_upper": ({"status": "COMPLETED"}, False),
    "nsfw": ({"status": "completed", "has_nsfw_contents": [True]}, False),
    "outputs_empty": ({"status": "completed", "outputs": []}, False),
    "outputs_null": ({"status": "completed", "outputs": None}, False),
}
READS: dict[str, tuple[str, object, str]] = {
    # where to knock, and what is told; money does not move
    "result_404": ("result", 404, "not found"),
    "result_429=3": ("result", 429, "rate limit"),
    "result_500": ("result", 500, "internal"),
    "result_html": ("result", 502, "<html>"),
    "result_drop": ("result", "closed", ""),
    "slow_result=0.01": ("result", 200, "success"),
    "list_404": ("predictions", 404, "not found"),
    "list_429": ("predictions", 429, "rate limit"),
    "list_500": ("predictions", 500, "internal"),
    "list_html": ("predictions", 502, "<html>"),
    "list_drop": ("predictions", "closed", ""),
    "slow_list=0.01": ("predictions", 200, "items"),
    "price_404": ("model/price", 404, "not found"),
    "price_500": ("model/pricing", 500, "internal"),
    "price_html": ("model/price", 502, "<html>"),
    "balance_401": ("balance", 401, "Invalid"),
    "balance_500": ("balance", 500, "internal"),
    "models_500": ("models", 500, "internal"),
    "models_html": ("models", 502, "<html>"),
    "models_drift": ("models", 200, '["customize","intelligence"]'),
    "models_lacks": ("models", 200, '"cfg_scale":'),
    "models_missing": ("models", 200, '"data":[]'),
    "billing_401": ("billings/search", 401, "Invalid"),
    "billing_403": ("user/usage_stats", 403, "permission_denied"),
    "billing_404": ("billings/search", 404, "not found"),
    "billing_500": ("user/usage_stats", 500, "internal"),
    "upload_401": ("media/uploads", 401, "Invalid"),
    "upload_413": ("media/upload/binary", 413, "too large"),
    "upload_500": ("media/uploads", 500, "internal"),
    "upload_drop": ("media/uploads", "closed", ""),
}
DOWNLOADS: dict[str, tuple[object, str]] = {
    # what whoever asks for all but ten bytes is told
    "html_200": (200, "text/html"),
    "expired_403": (403, "xml"),
    "expired_other_host": (403, "xml"),
    "expired_other_file": (403, "xml"),
    "expires_midway": ("closed", ""),
    "expires_after": (206, "video/mp4"),
    "download_404": (404, "json"),
    "download_416": (416, "video/mp4"),
    "download_500": (500, "json"),
    "download_drop": ("closed", ""),
    "truncated": ("closed", ""),
    "stalled": ("silent", ""),
    "slow_download=1e9": (206, "video/mp4"),
    "wrong_length": (206, "video/mp4"),
    "wrong_range": (206, "video/mp4"),
    "ignore_range": (200, "video/mp4"),
    "etag_changed": (206, "video/mp4"),
    "other_file": (206, "video/mp4"),
    "redirect_host": (302, "&hops=0"),
    "redirect_chain": (302, "&hops=2"),
    "redirect_loop": (302, "http://127.0.0.1:"),
    "redirect_loopback": (302, "http://127.0.0.1:9/"),
    "redirect_metadata": (302, "http://169.254.169.254/"),
    "redirect_file": (302, "file:///etc/passwd"),
    "redirect_tls": (302, "https://127.0.0.1:"),
}
TOLD_BELOW = {
    # in tests of their own
    "answer_twice",
    "close_door",
    "submit_drift",
    "id_reused",
    "charge_more",
    "charge_twice",
    "price_more",
    "refund_late",
    "refund_never",
    "outputs_string",
    "outputs_object",
    "outputs_base64",
    "outputs_two",
    "bare_result",
    "gone_as_deleted",
    "old_as_completed",
    "list_hides_inputs",
    "list_fills_inputs",
    "list_drift",
    "list_misses_rows",
    "list_forgets",
    "list_foreign_rows",
    "list_equal_rows",
    "list_deleted_rows",
    "put_403",
    "put_412",
    "put_500",
    "put_drop",
    "gzip_bomb",
}


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    data = tmp_path_factory.mktemp("faults")
    more = ("--list-delay", "0", "--refund-delay", "0", "--balance", "100000")
    with visiting(data, "--speed", "18000", *more) as visitor:
        yield visitor


def told(ask: Callable[[], httpx.Response]) -> tuple[object, str]:
    try:
        answer = ask()
    except (httpx.RemoteProtocolError, httpx.ReadError):
        return "closed", ""  # which of the two it is depends on who is faster
    except httpx.TimeoutException:
        return "silent", ""
    return answer.status_code, answer.text


def test_no_fault_is_without_its_test() -> None:
    tables: list[Any] = [FREE, LOST, ENDS, READS, DOWNLOADS]
    rows = (row for table in tables for row in table)
    names = {name.partition("=")[0] for row in rows for name in row.split(",")}
    assert names | TOLD_BELOW == SWITCHES.keys()


def test_a_quote_above_the_catalog(visitor: Visitor) -> None:
    model = MODEL.removeprefix("/api/v3/")
    question = {"model_id": model, "inputs": {"prompt": "a boat", "duration": 5}}
    quotes = []
    for fault in ("", "price_more"):
        headers = {"X-Sandbox-Fault": fault}
        answer = visitor.api.post("/api/v3/model/price", json=question, headers=headers)
        quotes.append(answer.json()["data"]["discounted_price"])
    assert quotes[1] == pytest.approx(quotes[0] * 1.5)


@pytest.mark.parametrize("fault", FREE)
def test_what_is_not_created_is_not_charged(visitor: Visitor, fault: str) -> None:
    before = len(visitor.sold)
    status, text = told(lambda: visitor.submit(fault))
    assert status == FREE[fault][0]
    assert FREE[fault][1] in text
    assert len(visitor.sold) == before


@pytest.mark.parametrize("fault", LOST)
def test_what_is_created_is_charged_whatever_is_told(
    visitor: Visitor, fault: str
) -> None:
    before = len(visitor.sold)
    status, text = told(lambda: visitor.submit(fault))
    assert status == LOST[fault][0]
    assert LOST[fault][1] in text
    row = visitor.sold[-1]
    assert len(visitor.sold) == before + 1
    assert row["price_usd"] == "2.10"


@pytest.mark.parametrize("fault", ENDS)
def test_an_ending_and_its_money(visitor: Visitor, fault: str) -> None:
    seen, back = ENDS[fault]
    data = visitor.bought(fault)
    assert data | seen == data
    assert ("code" in data) == ("code" in seen)
    rows = [row for row in visitor.till if row["prediction_id"] == data["id"]]
    assert [row["price_usd"] for row in rows] == ["2.10", "-2.10"][: 1 + back]


@pytest.mark.parametrize("fault", READS)
def test_a_reading_goes_wrong_for_nothing(visitor: Visitor, fault: str) -> None:
    where, status, words = READS[fault]
    identity = visitor.submit().json()["data"]["id"]
    before = len(visitor.sold)
    headers = {"X-Sandbox-Fault": fault}

    def ask() -> httpx.Response:
        if where == "result":
            return visitor.result(identity, fault)
        if where in ("balance", "models"):
            return visitor.api.get(f"/api/v3/{where}", headers=headers)
        body = {"page": 1, "page_size": 1}
        return visitor.api.post(f"/api/v3/{where}", json=body, headers=headers)

    assert told(ask)[0] == status
    assert words in told(ask)[1]
    assert len(visitor.sold) == before


def fetched(url: str, fault: str, **more: Any) -> httpx.Response:
    headers = {"X-Sandbox-Fault": fault, "Accept-Encoding": "identity"}
    return httpx.get(url, headers=headers | more, timeout=0.5)


@pytest.mark.parametrize("fault", DOWNLOADS)
def test_a_download_goes_wrong_for_nothing(visitor: Visitor, fault: str) -> None:
    data = visitor.bought()
    (url,) = data["outputs"]
    whole = httpx.get(url, timeout=10).content
    before = len(visitor.sold)
    answers: list[httpx.Response] = []

    def ask() -> httpx.Response:
        answers.append(fetched(url, fault, Range="bytes=10-"))
        return answers[0]

    status, words = DOWNLOADS[fault]
    assert told(ask)[0] == status
    for answer in answers:
        head = answer.headers
        assert words in head.get("location", head.get("content-type"))
        if fault == "slow_download=1e9":
            assert answer.content == whole[10:]
    assert len(visitor.sold) == before


def test_an_address_expires_and_comes_back_changed(visitor: Visitor) -> None:
    data = visitor.bought()
    (url,) = data["outputs"]
    first = httpx.get(url, timeout=10)
    for fault in ("expires_after", "expired_other_host", "expired_other_file"):
        fetched(url, fault)
        assert fetched(url, "").status_code == 403
        (fresh,) = visitor.finished(data["id"])["outputs"]
        assert fresh != url
        url = fresh
    assert httpx.URL(url).netloc != httpx.URL(data["outputs"][0]).netloc
    other = httpx.get(url, timeout=10)
    assert other.content.startswith(first.content)
    assert len(other.content) > len(first.content)
    assert other.headers["etag"] != first.headers["etag"]


def test_a_file_or_its_tag_can_change_behind_an_address(visitor: Visitor) -> None:
    (url,) = visitor.bought()["outputs"]
    first = httpx.get(url, timeout=10)
    tags = {fetched(url, "etag_changed").headers["etag"] for _ in range(2)}
    assert len(tags | {first.headers["etag"]}) == 3
    fetched(url, "other_file")
    assert fetched(url, "").content != first.content
    start, _, _ = (
        fetched(url, "wrong_range", Range="bytes=10-")
        .headers["content-range"]
        .partition("-")
    )
    assert start == "bytes 11"


def test_redirects_that_end_end_at_the_clip(visitor: Visitor) -> None:
    (url,) = visitor.bought()["outputs"]
    clip = httpx.get(url, timeout=10).content
    for fault, hops in (("redirect_host", 1), ("redirect_chain=4", 4)):
        headers = {"X-Sandbox-Fault": fault}
        answer = httpx.get(url, headers=headers, follow_redirects=True)
        assert len(answer.history) == hops
        assert answer.content == clip
    with pytest.raises(httpx.TooManyRedirects):
        httpx.get(
            url, headers={"X-Sandbox-Fault": "redirect_loop"}, follow_redirects=True
        )
    tls = fetched(url, "redirect_tls").headers["location"]
    with pytest.raises(httpx.ConnectError):
        httpx.get(tls)


def test_a_small_answer_can_swell(visitor: Visitor) -> None:
    (url,) = visitor.bought()["outputs"]
    answer = fetched(url, "gzip_bomb=8")
    assert int(answer.headers["content-length"]) < 100_000
    assert answer.content == bytes(8 * 2**20)


@pytest.mark.parametrize(
    ("fault", "shape"),
    [
        ("outputs_string", str),
        ("outputs_object", dict),
        ("outputs_base64", str),
        ("outputs_two", str),
    ],
)
def test_outputs_come_in_odd_shapes(visitor: Visitor, fault: str, shape: type) -> None:
    outputs = visitor.bought(fault)["outputs"]
    assert isinstance(outputs, str) == (fault == "outputs_string")
    assert isinstance(outputs[0], shape)
    if fault == "outputs_base64":
        assert str(outputs[0]).startswith("data:")
    if fault == "outputs_two":
        assert len(set(outputs)) == 2


def test_a_result_can_be_bare(visitor: Visitor) -> None:
    data = visitor.bought("bare_result")
    assert data.keys().isdisjoint({"urls", "has_nsfw_contents", "timings", "error"})
    assert data["status"] == "completed"


def test_more_can_be_charged_than_was_quoted(visitor: Visitor) -> None:
    asked = {"model_id": MODEL.removeprefix("/api/v3/"), "inputs": {"duration": 4}}
    quote = visitor.api.post("/api/v3/model/price", json=asked).json()["data"]
    visitor.submit("charge_more", duration=4)
    assert quote["discounted_price"] == 1.68
    assert visitor.sold[-1]["price_usd"] == "2.52"


def test_a_clip_can_be_charged_twice(visitor: Visitor) -> None:
    name = visitor.bought("charge_twice")["id"]
    while True:  # the second charge is due a moment after the clip
        asked = {"prediction_uuids": [name]}
        answer = visitor.api.post("/api/v3/billings/search", json=asked)
        rows = answer.json()["data"]["items"]
        if len(rows) == 2:
            break
    assert len({row["uuid"] for row in rows}) == 2
    assert {row["billing_type"] for row in rows} == {"deduct"}


def test_an_id_can_be_told_twice(visitor: Visitor) -> None:
    first = visitor.submit().json()["data"]["id"]
    before = len(visitor.sold)
    assert visitor.submit("id_reused").json()["data"]["id"] == first
    (row,) = visitor.sold[before:]
    assert row["prediction_id"] != first


def test_an_id_can_climb_out_of_a_folder(visitor: Visitor) -> None:
    data = visitor.submit("id_path").json()["data"]
    assert data["id"].startswith("../../")
    assert visitor.sold[-1]["prediction_id"] == data["id"]
    assert visitor.history().json()["data"]["items"][0]["id"] == data["id"]


def test_a_submission_may_be_accepted_after_the_client_is_gone(
    visitor: Visitor,
) -> None:
    before = len(visitor.sold)
    headers = {"X-Sandbox-Fault": "late_accept=0.4"}
    with pytest.raises(httpx.ReadTimeout):
        visitor.api.post(MODEL, json={"prompt": "a"}, headers=headers, timeout=0.1)
    assert len(visitor.sold) == before
    deadline = time.monotonic() + 10
    while len(visitor.sold) == before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(visitor.sold) == before + 1


def test_a_completed_answer_needs_no_second_look(visitor: Visitor) -> None:
    data = visitor.submit("sync_completed").json()["data"]
    assert data["status"] == "completed"
    assert visitor.result(data["id"]).json()["data"]["outputs"] == data["outputs"]
    data = visitor.submit("sync_timeout").json()["data"]
    assert data["error"].startswith("Sync mode timed out")
    assert visitor.finished(data["id"])["status"] == "completed"


def test_a_second_answer_can_come_unasked(visitor: Visitor) -> None:
    before = len(visitor.sold)
    body = b'{"prompt": "a"}'
    head = (
        f"POST {MODEL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n"
        f"X-Sandbox-Fault: answer_twice\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    address = visitor.api.base_url
    heard = b""
    with socket.create_connection((address.host, address.port or 0), 10) as raw:
        raw.sendall(head.encode() + body)
        while heard.count(b"HTTP/1.1 200") < 2 or not heard.endswith(b"}}"):
            heard += raw.recv(65536)
    ids = re.findall(rb'"id":"([0-9a-f]{32})"', heard)
    assert ids == [visitor.sold[-1]["prediction_id"].encode()] * 2
    assert len(visitor.sold) == before + 1


def test_the_live_schema_may_drift(visitor: Visitor) -> None:
    before = len(visitor.sold)
    assert visitor.submit(shot_type="intelligence").status_code == 400
    old = visitor.submit("submit_drift", shot_type="intelligent")
    assert old.status_code == 400
    assert "[customize, intelligence]" in old.json()["message"]
    assert len(visitor.sold) == before
    assert visitor.submit("submit_drift", shot_type="intelligence").status_code == 200
    assert len(visitor.sold) == before + 1


def test_a_refund_can_be_late(visitor: Visitor) -> None:
    data = visitor.bought("fail_provider,refund_late=18000")
    ids = [row["prediction_id"] for row in visitor.till]
    assert ids.count(data["id"]) == 1
    deadline = time.monotonic() + 10
    while ids.count(data["id"]) == 1 and time.monotonic() < deadline:
        time.sleep(0.05)
        ids = [row["prediction_id"] for row in visitor.till]
    rows = [row for row in visitor.till if row["prediction_id"] == data["id"]]
    assert sum(Decimal(row["price_usd"]) for row in rows) == 0


def test_the_list_has_bad_days(tmp_path: Path) -> None:
    with visiting(tmp_path, "--list-delay", "0") as visitor:
        for number in range(4):
            visitor.submit(prompt=str(number), duratoin=1)

        def rows(fault: str) -> list[dict[str, Any]]:
            answer = visitor.history(fault, include_inputs=True)
            found: list[dict[str, Any]] = answer.json()["data"]["items"]
            return found

        good = rows("")
        assert [row["inputs"]["prompt"] for row in good] == ["3", "2", "1", "0"]
        assert all("inputs" not in row for row in rows("list_hides_inputs"))
        filled = rows("list_fills_inputs")[0]["inputs"]
        assert filled["duration"] == 5
        assert "duratoin" not in filled
        drifted = rows("list_drift=3600")
        assert all(
            a["created_at"] > b["created_at"]
            for a, b in zip(drifted, good, strict=True)
        )
        missing = [row["id"] for row in rows("list_misses_rows")]
        assert missing == [good[0]["id"], good[2]["id"]]
        time.sleep(0.02)
        assert rows("list_forgets=0.01") == []
        foreign, *others = rows("list_foreign_rows")
        assert [row["id"] for row in others] == [row["id"] for row in good]
        assert foreign["inputs"]["prompt"] == "Made by hand on the website"
        assert visitor.result(foreign["id"]).status_code == 200
        equal = rows("list_equal_rows=2")
        assert [row["inputs"] for row in equal[:3]] == [good[0]["inputs"]] * 3
        assert len({row["id"] for row in equal}) == 6
        visitor.api.post("/api/v3/predictions/delete", json={"ids": [good[1]["id"]]})
        assert len(rows("")) == 3
        assert rows("list_deleted_rows")[1]["status"] == "deleted"
        assert len(visitor.sold) == 4


def test_what_is_gone_has_two_forms(tmp_path: Path) -> None:
    with visiting(tmp_path) as visitor:
        gone, old = visitor.bought()["id"], visitor.bought()["id"]
        visitor.api.post("/api/v3/predictions/delete", json={"ids": [gone]})
        assert visitor.result(gone).status_code == 404
        told = visitor.result(gone, "gone_as_deleted").json()["data"]
        assert (told["status"], told["outputs"]) == ("deleted", [])
    with visiting(tmp_path, "--offset", str(7 * 24 * 3600 + 1)) as visitor:
        assert visitor.result(old).status_code == 404
        (url,) = visitor.result(old, "old_as_completed").json()["data"]["outputs"]
        assert httpx.get(url).status_code == 403
        assert len(visitor.sold) == 2


def test_the_door_can_be_closed_for_a_while(tmp_path: Path) -> None:
    with visiting(tmp_path) as visitor:
        with pytest.raises(httpx.RemoteProtocolError):
            visitor.submit("close_door=0.6")
        with pytest.raises(httpx.ConnectError):
            visitor.submit()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                assert visitor.submit().status_code == 200
            except httpx.ConnectError:
                time.sleep(0.05)
            else:
                break
        assert len(visitor.sold) == 1


@pytest.mark.parametrize(
    ("fault", "status"), [("put_403", 403), ("put_412", 412), ("put_500", 500)]
)
def test_an_upload_can_be_turned_away(
    visitor: Visitor, fault: str, status: int
) -> None:
    ticket = visitor.api.post(
        "/api/v3/media/uploads", json={"filename": "a.png", "size": 3}
    ).json()["data"]["upload"]
    headers = ticket["headers"]
    bad = headers | {"X-Sandbox-Fault": fault}
    assert httpx.put(ticket["url"], content=b"abc", headers=bad).status_code == status
    drop = headers | {"X-Sandbox-Fault": "put_drop"}
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.put(ticket["url"], content=b"abc", headers=drop)
    again = httpx.put(ticket["url"], content=b"abc", headers=headers)
    assert again.status_code == 200


def test_a_date_may_say_when_to_come_back(visitor: Visitor) -> None:
    header = visitor.submit("refuse_429_date=90").headers["retry-after"]
    assert header.endswith(" GMT")


def test_a_fault_without_a_number_takes_none(visitor: Visitor) -> None:
    answer = visitor.submit("refuse_400=3")
    assert answer.json()["message"] == "refuse_400 takes no number"


def test_every_fault_is_listed() -> None:
    result = CliRunner().invoke(batchgen, ["sandbox", "--list-faults"])
    assert result.exit_code == 0
    words = result.output.split()
    listed = {word.partition("=")[0] for word in words}
    assert listed >= SWITCHES.keys()
    assert max(len(line) for line in result.output.splitlines()) <= 88
    result = CliRunner().invoke(batchgen, ["sandbox", "--help"])
    assert "--list-faults" in result.output


@pytest.mark.parametrize("preset", ["flaky", "down"])
def test_presets_are_told_by_the_till(tmp_path: Path, preset: str) -> None:
    with visiting(tmp_path, "--faults", preset, "--list-delay", "0") as visitor:
        answers = [told(visitor.submit)[0] for _ in range(40)]
        charged = visitor.sold
        # Flaky answers badly what it sold; down sells nothing.
        flaky = preset == "flaky"
        assert (len(charged) > answers.count(200) > 10) == flaky
        assert (set(answers) == {503} and charged == []) == (not flaky)


def test_the_next_request_can_be_told_to_meet_a_fault(visitor: Visitor) -> None:
    armed = visitor.api.post("/__sandbox__/faults", content="refuse_429=4,list_500")
    assert armed.status_code == 200
    assert visitor.submit().headers["retry-after"] == "4"
    assert visitor.submit().status_code == 200
    assert visitor.history().status_code == 500
    assert visitor.history().status_code == 200
    unknown = visitor.api.post("/__sandbox__/faults", content="nonsense")
    assert unknown.status_code == 400
