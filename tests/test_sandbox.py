"""The make-believe service: what a client sees, and what the till says."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from visitor import FAST, KEY, MODEL, Visitor, visiting

from batchgen.errors import BatchgenError
from batchgen.sandbox.app import api
from batchgen.sandbox.clock import SECOND, Clock
from batchgen.sandbox.faults import KINDS, plan
from batchgen.sandbox.launch import launch, process
from batchgen.sandbox.options import Addresses, Options
from batchgen.sandbox.world import World


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    with visiting(tmp_path_factory.mktemp("calm")) as visitor:
        yield visitor


def test_a_submission_is_answered_as_the_vendor_does(visitor: Visitor) -> None:
    answer = visitor.submit(duration=3)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["code"], body["message"]) == (200, "success")
    data = body["data"]
    assert len(data["id"]) == 32
    assert data["id"] == data["id"].lower()
    assert data["status"] == "created"
    assert data["outputs"] == []
    assert data["urls"]["get"].endswith(f"/api/v3/predictions/{data['id']}/result")
    assert len(data["created_at"]) == len("2026-01-01T00:00:00.123456789Z")
    assert "date" in answer.headers


def test_a_prediction_ends_with_one_output(visitor: Visitor) -> None:
    data = visitor.bought(duration=3)
    assert data["status"] == "completed"
    assert data["error"] == ""
    assert data["timings"]["inference"] > 0
    (url,) = data["outputs"]
    assert f"/predictions/{data['id']}/1.mp4?sig=" in url


@pytest.mark.parametrize("key", ["", "Bearer", "Bearer wrong-key", "Basic good"])
def test_a_wrong_key_is_refused(visitor: Visitor, key: str) -> None:
    headers = {"Authorization": key}
    before = len(visitor.till)
    answer = visitor.api.post(MODEL, json={"prompt": "a"}, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["code"] == 401
    assert len(visitor.till) == before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"duration": 2}, 'field "duration" must be one of [3 … 15]'),
        ({"duration": 5.0}, 'field "duration" must be an integer'),
        ({"duration": True}, 'field "duration" must be an integer'),
        (
            {"aspect_ratio": "4:3"},
            'field "aspect_ratio" must be one of [16:9, 9:16, 1:1]',
        ),
        ({"cfg_scale": 1.5}, 'field "cfg_scale" must be between 0 and 1'),
        ({"negative_prompt": None}, 'field "negative_prompt" must be a string'),
        ({"prompt": " "}, 'field "prompt" is required and must not be empty'),
        ({"prompt": "a" * 2501}, 'field "prompt" must be at most 2500 characters'),
        (
            {"multi_prompt": [{"prompt": "a", "duration": 0}]},
            'field "multi_prompt[0].duration" must be one of [1 … 15]',
        ),
    ],
)
def test_a_bad_input_is_refused_and_free(
    visitor: Visitor, fields: dict[str, Any], message: str
) -> None:
    before = len(visitor.till)
    answer = visitor.submit(**fields)
    assert answer.status_code == 400
    assert answer.json() == {"code": 400, "message": message}
    assert len(visitor.till) == before


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"cfg_scale": NaN}', b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(
    visitor: Visitor, body: bytes
) -> None:
    answer = visitor.api.post(MODEL, content=body)
    assert answer.status_code == 400
    assert answer.json()["code"] == 400


def test_scenes_stand_in_for_a_prompt(visitor: Visitor) -> None:
    scenes = [{"prompt": "a", "duration": 3}, {"prompt": "b", "duration": 4}]
    answer = visitor.api.post(MODEL, json={"multi_prompt": scenes, "duration": 7})
    assert answer.status_code == 200


def test_an_unknown_model_is_not_found(visitor: Visitor) -> None:
    answer = visitor.api.post("/api/v3/nobody/nothing", json={"prompt": "a"})
    assert (answer.status_code, answer.json()["code"]) == (404, 404)


def test_an_unknown_key_is_dropped_and_charged(visitor: Visitor) -> None:
    elements = [{"element_id": "1"}]
    data = visitor.submit(duratoin=3, element_list=elements).json()["data"]
    (row,) = [row for row in visitor.till if row["prediction_id"] == data["id"]]
    assert row["price_usd"] == "2.10"
    assert row["input"] == {"prompt": "a", "duratoin": 3, "element_list": elements}


def test_the_price_is_quoted_in_both_forms(visitor: Visitor) -> None:
    asked = {"model_id": MODEL.removeprefix("/api/v3/"), "inputs": {"duration": 10}}
    new = visitor.api.post("/api/v3/model/price", json=asked).json()["data"]
    old = visitor.api.post("/api/v3/model/pricing", json=asked).json()["data"]
    assert new["discounted_price"] == old["unit_price"] == 4.2


def test_the_models_are_listed_with_their_schema(visitor: Visitor) -> None:
    (entry,) = [
        entry
        for entry in visitor.api.get("/api/v3/models").json()["data"]
        if MODEL.endswith(entry["model_id"])
    ]
    (schema,) = entry["api_schema"]["api_schemas"]
    assert schema["api_path"] == MODEL
    assert "element_list" not in schema["request_schema"]["properties"]
    assert entry["base_price"] == 2.1


def test_the_history_is_newest_first_in_pages_and_filtered(tmp_path: Path) -> None:
    with visiting(tmp_path, "--list-delay", "0") as visitor:
        made = [visitor.submit(prompt=str(n)).json()["data"] for n in range(5)]
        newest = [data["id"] for data in reversed(made)]
        listed = visitor.history().json()["data"]["items"]
        assert [item["id"] for item in listed] == newest
        assert "inputs" not in listed[0]
        second = visitor.history(page=2, page_size=2).json()["data"]
        assert [item["id"] for item in second["items"]] == newest[2:4]
        assert second["page"] == 2
        window = {
            "created_after": made[1]["created_at"],
            "created_before": made[3]["created_at"],
        }
        found = visitor.history(**window).json()["data"]["items"]
        assert {made[2]["id"]} <= {item["id"] for item in found}
        assert len(found) <= 3
        assert visitor.history(model="a/b").json()["data"]["items"] == []
        for identity in newest:
            visitor.finished(identity)
        assert len(visitor.history(status="completed").json()["data"]["items"]) == 5
        assert visitor.history(page_size=101).status_code == 400


def test_the_history_shows_inputs_only_when_asked(tmp_path: Path) -> None:
    with visiting(tmp_path, "--list-delay", "0") as visitor:
        visitor.submit(prompt="secret")
        (item,) = visitor.history(include_inputs=True).json()["data"]["items"]
        assert item["inputs"] == {"prompt": "secret"}
        hidden = visitor.history("list_hides_inputs", include_inputs=True)
        assert "inputs" not in hidden.json()["data"]["items"][0]


def test_the_history_is_late(tmp_path: Path) -> None:
    with visiting(tmp_path, "--list-delay", "1e9") as visitor:
        data = visitor.submit().json()["data"]
        assert visitor.history().json()["data"]["items"] == []
        assert visitor.result(data["id"]).status_code == 200


def test_everything_is_forgotten_after_seven_days(tmp_path: Path) -> None:
    with visiting(tmp_path) as visitor:
        data = visitor.bought()
    week = str(7 * 24 * 3600 + 1)
    with visiting(tmp_path, "--offset", week) as visitor:
        assert visitor.result(data["id"]).status_code == 404
        assert visitor.history().json()["data"]["items"] == []
        assert len(visitor.till) == 1


def test_deleted_predictions_are_gone_but_paid(tmp_path: Path) -> None:
    with visiting(tmp_path, "--list-delay", "0") as visitor:
        data = visitor.bought()
        body = {"ids": [data["id"], "nobody"]}
        answer = visitor.api.post("/api/v3/predictions/delete", json=body)
        assert answer.json()["data"] == {"deleted_count": 1}
        assert visitor.result(data["id"]).status_code == 404
        assert len(visitor.till) == 1


def test_an_empty_purse_is_a_plain_400(tmp_path: Path) -> None:
    with visiting(tmp_path, "--balance", "3") as visitor:
        assert visitor.submit(duration=5).status_code == 200
        answer = visitor.submit(duration=5)
        assert answer.status_code == 400
        assert answer.json()["message"].startswith("Insufficient credits.")
        assert visitor.api.get("/api/v3/balance").json()["data"] == {"balance": 0.9}


def test_a_tier_limits_what_is_in_flight(tmp_path: Path) -> None:
    with visiting(tmp_path, "--tier", "bronze") as visitor:
        answers = [visitor.submit("stuck") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert len(visitor.till) == 3
        assert visitor.seen["most_in_flight"] == 3


def test_a_provider_failure_is_paid_back_later(tmp_path: Path) -> None:
    with visiting(tmp_path, "--refund-delay", "360") as visitor:
        data = visitor.bought("fail_provider=5003")
        assert (data["status"], data["code"]) == ("failed", 5003)
        assert data["error"]
        assert sum(Decimal(row["price_usd"]) for row in visitor.till) == Decimal("2.10")
        deadline = time.monotonic() + 5
        while len(visitor.till) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert [row["price_usd"] for row in visitor.till] == ["2.10", "-2.10"]
        bills = visitor.api.post("/api/v3/billings/search", json={}).json()["data"]
        kinds = [item["billing_type"] for item in bills["items"]]
        assert kinds == ["refund", "deduct"]
        refunds = {"billing_type": "refund", "prediction_uuids": [data["id"]]}
        bills = visitor.api.post("/api/v3/billings/search", json=refunds).json()["data"]
        assert [item["prediction"]["uuid"] for item in bills["items"]] == [data["id"]]


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("fail_moderation", "failed", 1200),
        ("fail_invalid", "failed", 1401),
        ("fail_credit", "failed", 1407),
        ("status_cancelled", "cancelled", None),
        ("status_timeout", "timeout", None),
        ("status_odd", "paused", None),
    ],
)
def test_a_prediction_can_end_badly(
    visitor: Visitor, fault: str, status: str, code: int | None
) -> None:
    data = visitor.bought(fault)
    assert (data["status"], data.get("code")) == (status, code)
    assert data["outputs"] == []


def test_a_result_can_be_odd(visitor: Visitor) -> None:
    assert visitor.bought("nsfw")["has_nsfw_contents"] == [True]
    assert visitor.bought("outputs_empty")["outputs"] == []
    assert visitor.bought("outputs_null")["outputs"] is None
    assert isinstance(visitor.bought("outputs_string")["outputs"], str)
    assert len(visitor.bought("outputs_two")["outputs"]) == 2
    assert "urls" not in visitor.bought("bare_result")


def test_a_result_may_not_be_found_at_first(tmp_path: Path) -> None:
    with visiting(tmp_path, "--speed", "180") as visitor:
        data = visitor.submit("result_404_first").json()["data"]
        assert visitor.result(data["id"]).status_code == 404
        time.sleep(0.4)
        assert visitor.result(data["id"]).status_code == 200


def test_reading_fails_as_told(visitor: Visitor) -> None:
    data = visitor.submit().json()["data"]
    assert visitor.result(data["id"], "result_500").status_code == 500
    html = visitor.result(data["id"], "result_html")
    assert html.headers["content-type"].startswith("text/html")
    assert visitor.history("list_500").status_code == 500
    assert visitor.result("0" * 32).status_code == 404


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("refuse_400", 400),
        ("refuse_401", 401),
        ("refuse_403", 403),
        ("refuse_404", 404),
        ("refuse_429", 429),
        ("no_credit", 400),
        ("server_500_not_created", 500),
        ("server_503_not_created", 503),
        ("html_502_not_created", 502),
    ],
)
def test_a_refusal_is_free(visitor: Visitor, fault: str, status: int) -> None:
    before = len(visitor.till)
    assert visitor.submit(fault).status_code == status
    assert len(visitor.till) == before


def test_a_refusal_may_say_when_to_come_back(visitor: Visitor) -> None:
    assert "retry-after" not in visitor.submit("refuse_429").headers
    assert visitor.submit("refuse_429=7").headers["retry-after"] == "7"


@pytest.mark.parametrize(
    ("fault", "charged"),
    [
        ("drop_before_accept", 0),
        ("reset_before_accept", 0),
        ("drop_after_accept", 1),
        ("reset_after_accept", 1),
        ("accept_cut_short", 1),
    ],
)
def test_a_lost_answer_says_nothing_about_the_money(
    visitor: Visitor, fault: str, charged: int
) -> None:
    before = len(visitor.till)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        visitor.submit(fault)
    assert len(visitor.till) == before + charged


@pytest.mark.parametrize(
    ("fault", "reset"),
    [
        ("drop_before_accept", False),
        ("drop_after_accept", False),
        ("reset_before_accept", True),
        ("reset_after_accept", True),
    ],
)
def test_a_dropped_connection_carries_not_a_byte(
    visitor: Visitor, fault: str, *, reset: bool
) -> None:
    body = b'{"prompt": "a"}'
    head = (
        f"POST {MODEL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n"
        f"X-Sandbox-Fault: {fault}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    address = visitor.api.base_url
    with socket.create_connection((address.host, address.port or 0)) as raw:
        raw.sendall(head.encode() + body)
        if reset:
            with pytest.raises(ConnectionResetError):
                raw.recv(1)
        else:
            assert raw.recv(1) == b""


@pytest.mark.parametrize("fault", ["accept_502_html", "accept_500"])
def test_an_error_may_hide_an_acceptance(visitor: Visitor, fault: str) -> None:
    before = len(visitor.till)
    assert visitor.submit(fault).status_code >= 500
    assert len(visitor.till) == before + 1


@pytest.mark.parametrize("fault", ["accept_half_json", "accept_no_id", "accept_empty"])
def test_an_acceptance_may_be_unreadable(visitor: Visitor, fault: str) -> None:
    before = len(visitor.till)
    answer = visitor.submit(fault)
    assert answer.status_code == 200
    with pytest.raises((json.JSONDecodeError, KeyError)):
        answer.json()["data"]["id"]
    assert len(visitor.till) == before + 1


def test_an_answer_may_be_slower_than_the_client(visitor: Visitor) -> None:
    before = len(visitor.till)
    with pytest.raises(httpx.ReadTimeout):
        visitor.api.post(
            MODEL,
            json={"prompt": "a"},
            headers={"X-Sandbox-Fault": "slow_answer=1"},
            timeout=0.1,
        )
    assert len(visitor.till) == before + 1


def test_an_unknown_fault_is_named(visitor: Visitor) -> None:
    answer = visitor.submit("no_such_fault")
    assert answer.status_code == 400
    assert "no_such_fault" in answer.json()["message"]


def test_a_plan_strikes_the_requests_it_names(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(
        "seed: 3\nrules:\n"
        "  - {fault: refuse_429, at: [2]}\n"
        "  - {fault: no_credit, at: [3], model: someone/else}\n"
        "  - {fault: result_500, at: [1]}\n"
    )
    with visiting(tmp_path / "data", "--faults", str(file)) as visitor:
        answers = [visitor.submit() for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 429, 200]
        identity = answers[0].json()["data"]["id"]
        assert visitor.result(identity).status_code == 500
        assert visitor.result(identity).status_code == 200
        assert visitor.seen["faults"] == {"refuse_429": 1, "result_500": 1}


def test_the_same_seed_strikes_the_same_requests() -> None:
    def drawn() -> list[list[str]]:
        flaky = plan("flaky")
        return [list(flaky.draw("submit", "m", "")) for _ in range(200)]

    assert drawn() == drawn()
    assert 20 < sum(bool(names) for names in drawn()) < 100


@pytest.mark.parametrize(
    "text",
    [
        "rules: [{fault: nonsense}]",
        "rules: [{fault: nsfw, often: 1}]",
        "rules: [{fault: truncated, model: m, at: [1]}]",
        "colour: red",
        "[1]",
        "rules: [",
    ],
)
def test_a_bad_plan_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(text)
    with pytest.raises(BatchgenError, match=r"plan\.yaml"):
        plan(str(file))


def test_down_is_down(tmp_path: Path) -> None:
    with visiting(tmp_path, "--faults", "down") as visitor:
        assert visitor.submit().status_code == 503
        assert visitor.history().status_code == 500
        assert visitor.till == []


def test_every_fault_can_be_named_in_a_header() -> None:
    for name, kind in KINDS.items():
        assert name in plan("calm").draw(kind, "", name)


def test_the_till_survives_the_death_of_the_process(tmp_path: Path) -> None:
    with process(tmp_path, *FAST) as (addresses, started):
        with httpx.Client(base_url=addresses.api, headers=KEY) as api:
            visitor = Visitor(api)
            data = visitor.bought(duration=3)
            with pytest.raises(httpx.RemoteProtocolError):
                visitor.submit("drop_after_accept")
            before = visitor.till
        os.kill(started.pid, signal.SIGKILL)
        started.wait()
    with visiting(tmp_path) as visitor:
        assert visitor.till == before
        assert len(before) == 2
        again = visitor.finished(data["id"])
        assert again["created_at"] == data["created_at"]
        (url,) = again["outputs"]
        assert httpx.get(url).status_code == 200


def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = (
        "import sys, pathlib; from batchgen.sandbox.launch import process\n"
        "with process(pathlib.Path(sys.argv[1])) as (addresses, started):\n"
        "    print(started.pid, addresses.api, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as started:
        assert started.stdout is not None
        _, address = started.stdout.readline().split()
        assert httpx.get(f"{address}/__sandbox__/till").json() == []
        started.kill()
    # The data can be had again at once: whoever comes waits for the dying.
    with visiting(tmp_path) as visitor:
        assert visitor.till == []
        with pytest.raises(httpx.ConnectError):
            httpx.get(address)


def test_a_prompt_may_hold_half_a_pair(tmp_path: Path) -> None:
    with visiting(tmp_path, "--list-delay", "0") as visitor:
        body = b'{"prompt": "\\ud83e", "duration": 3}'
        data = visitor.api.post(MODEL, content=body).json()["data"]
        assert visitor.till[0]["input"]["prompt"] == "\ud83e"
        (url,) = visitor.finished(data["id"])["outputs"]
        assert httpx.get(url).status_code == 200


async def in_process(world: World) -> tuple[int, list[dict[str, Any]]]:
    transport = httpx.ASGITransport(api(world))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://sandbox", headers=KEY
    ) as client:
        answer = await client.post(MODEL, json={"prompt": "a"})
        dropped = {"X-Sandbox-Fault": "drop_after_accept"}
        with pytest.raises(ConnectionResetError):
            await client.post(MODEL, json={"prompt": "a"}, headers=dropped)
        till = (await client.get("/__sandbox__/till")).json()
    return answer.status_code, till


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_works_inside_a_process_at_any_time(tmp_path: Path, backend: str) -> None:
    clock = Clock(source=lambda: 1_000_000_000 * SECOND + 1)
    world = World(Options(tmp_path), Addresses("http://a", "http://d"), clock)
    with closing(world):
        status, till = anyio.run(in_process, world, backend=backend)
    assert status == 200
    assert [row["at"] for row in till] == ["2001-09-09T01:46:40.000000001Z"] * 2


def test_it_ends_with_its_standard_input(tmp_path: Path) -> None:
    with process(tmp_path, *FAST) as (_, started):
        assert os.getpgid(started.pid) != os.getpgid(0)
        assert started.poll() is None
    assert started.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_by_signal(tmp_path: Path, number: signal.Signals) -> None:
    with process(tmp_path, *FAST) as (_, started):
        started.send_signal(number)
        assert started.wait(timeout=10) == 0


def test_a_failed_start_tells_its_reason(tmp_path: Path) -> None:
    with (
        pytest.raises(BatchgenError, match="no-such-plan"),
        launch(tmp_path, faults="no-such-plan"),
    ):
        pass
    with (
        launch(tmp_path / "a", profile="preview") as addresses,
        pytest.raises(BatchgenError, match="in use"),
        launch(tmp_path / "b", port=int(addresses.api.rpartition(":")[2])),
    ):
        pass


@pytest.fixture(scope="module")
def clip(visitor: Visitor) -> str:
    url = visitor.bought(duration=3)["outputs"][0]
    assert isinstance(url, str)
    return url


def fetch(url: str, fault: str = "", **headers: str) -> httpx.Response:
    if fault:
        headers["X-Sandbox-Fault"] = fault
    return httpx.get(url, headers=headers, timeout=5)


def test_a_clip_comes_whole_and_in_parts(clip: str) -> None:
    whole = fetch(clip)
    assert whole.status_code == 200
    assert whole.content[4:8] == b"ftyp"
    assert int(whole.headers["content-length"]) == len(whole.content)
    assert whole.headers["accept-ranges"] == "bytes"
    size, etag = len(whole.content), whole.headers["etag"]
    assert etag.startswith('"')
    part = fetch(clip, Range="bytes=100-199")
    assert part.status_code == 206
    assert part.content == whole.content[100:200]
    assert part.headers["content-range"] == f"bytes 100-199/{size}"
    assert fetch(clip, Range="bytes=-5").content == whole.content[-5:]
    rest = fetch(clip, Range="bytes=1000-", **{"If-Range": etag})
    assert (rest.status_code, rest.content) == (206, whole.content[1000:])
    stale = fetch(clip, Range="bytes=1000-", **{"If-Range": '"old"'})
    assert (stale.status_code, stale.content) == (200, whole.content)
    beyond = fetch(clip, Range=f"bytes={size}-")
    assert beyond.status_code == 416
    assert beyond.headers["content-range"] == f"bytes */{size}"
    head = httpx.head(clip)
    assert head.headers["content-length"] == str(size)
    assert head.content == b""


def test_a_key_at_the_download_host_fails_and_is_counted(
    visitor: Visitor, clip: str
) -> None:
    before = visitor.seen["authorization_at_downloads"]
    assert fetch(clip, Authorization="Bearer k").status_code == 400
    assert visitor.seen["authorization_at_downloads"] == before + 1


def test_an_address_without_its_signature_is_denied(clip: str) -> None:
    assert fetch(clip.partition("?")[0]).status_code == 403
    assert fetch(clip.partition("?")[0] + "?sig=0").status_code == 403


def test_an_expired_address_is_replaced_by_a_fresh_result(visitor: Visitor) -> None:
    data = visitor.bought(duration=3)
    (old,) = data["outputs"]
    assert fetch(old, "expired_403").status_code == 403
    assert fetch(old).status_code == 403
    (new,) = visitor.finished(data["id"])["outputs"]
    assert new != old
    assert fetch(new).status_code == 200


def test_a_download_can_go_wrong(clip: str) -> None:
    whole = fetch(clip).content
    with pytest.raises(httpx.RemoteProtocolError):
        fetch(clip, "truncated")
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(clip, headers={"X-Sandbox-Fault": "stalled"}, timeout=0.2)
    short = fetch(clip, "wrong_length")
    assert short.content == whole[: len(whole) // 2]
    ignored = fetch(clip, "ignore_range", Range="bytes=10-")
    assert (ignored.status_code, ignored.content) == (200, whole)
    page = fetch(clip, "html_200")
    assert page.headers["content-type"].startswith("text/html")
    assert fetch(clip, "download_500").status_code == 500
    assert fetch(clip, f"slow_download={len(whole) * 5}").content == whole
