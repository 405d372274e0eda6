"""Account, money and files: tiers, bills, usage, prices, uploads."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from visitor import KEY, MODEL, Visitor, visiting

from batchgen.models import Model, catalog, published
from batchgen.money import plain

API = "/api/v3"


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    with visiting(tmp_path_factory.mktemp("account"), "--list-delay", "0") as visitor:
        yield visitor


def test_beyond_the_tier_a_task_waits_in_the_queue(tmp_path: Path) -> None:
    slow = ("--tier", "bronze", "--excess", "queue", "--speed", "900")
    with visiting(tmp_path, *slow) as visitor:
        answers = [visitor.submit() for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200] * 5
        ids = [answer.json()["data"]["id"] for answer in answers]
        last = visitor.result(ids[-1]).json()["data"]
        assert last["status"] == "created"
        assert len(visitor.till) == 5
        ended = [visitor.finished(identity) for identity in ids]
        took = [data["timings"]["inference"] for data in ended]
        assert min(took[3:]) > max(took[:3])
        sixth = visitor.submit()
        assert sixth.status_code == 429
        assert "5 predictions per 1 minute" in sixth.json()["message"]


def test_a_queue_survives_the_process(tmp_path: Path) -> None:
    slow = ("--tier", "bronze", "--excess", "queue", "--speed", "300")
    with visiting(tmp_path, *slow) as visitor:
        ids = [visitor.submit().json()["data"]["id"] for _ in range(3)]
    with visiting(tmp_path, *slow) as visitor:
        after = visitor.submit().json()["data"]["id"]
        ended = [visitor.finished(identity) for identity in [*ids, after]]
        took = [data["timings"]["inference"] for data in ended]
        assert len(visitor.till) == 4
        assert took[3] > 0


@pytest.mark.parametrize("model", [*catalog()], ids=lambda model: model.alias)
def test_every_model_is_listed_quoted_and_sold(visitor: Visitor, model: Model) -> None:
    listed = visitor.api.get(f"{API}/models").json()["data"]
    (entry,) = [entry for entry in listed if entry["model_id"] == model.id]
    (schema,) = entry["api_schema"]["api_schemas"]
    assert schema["request_schema"] == published(model.schema)
    assert entry["type"] == model.kind
    for example in model.examples:
        asked = {"model_id": model.id, "inputs": example["input"]}
        quote = visitor.api.post(f"{API}/model/price", json=asked).json()["data"]
        assert quote["discounted_price"] == float(example["price"])
        answer = visitor.api.post(f"{API}/{model.id}", json=example["input"])
        assert answer.status_code == 200, answer.text
        row = visitor.sold[-1]
        assert (row["model"], float(row["price_usd"])) == (
            model.id,
            float(example["price"]),
        )
        visitor.finished(answer.json()["data"]["id"])


def test_bills_and_usage_add_up(tmp_path: Path) -> None:
    back = ("--refund-delay", "0", "--list-delay", "0")
    with visiting(tmp_path, *back) as visitor:
        made = [visitor.bought(fault)["id"] for fault in ("", "", "fail_provider")]
        asked: dict[str, Any] = {"page": 1, "page_size": 2}
        first = visitor.api.post(f"{API}/billings/search", json=asked).json()["data"]
        assert (first["page"], first["has_more"]) == (1, True)
        second = visitor.api.post(
            f"{API}/billings/search", json=asked | {"page": 2}
        ).json()["data"]
        assert second["has_more"] is False
        rows = [*first["items"], *second["items"]]
        kinds = [row["billing_type"] for row in rows]
        assert kinds == ["refund", "deduct", "deduct", "deduct"]
        assert rows[0]["prediction"] == {
            "uuid": made[2],
            "model_uuid": MODEL.removeprefix("/api/v3/"),
            "status": "failed",
        }
        assert rows[0]["order"]["state"] == "done"
        none = asked | {"model_uuid": "a/b"}
        bills = visitor.api.post(f"{API}/billings/search", json=none).json()["data"]
        assert bills == {"page": 1, "has_more": False, "items": []}
        assert (
            visitor.api.post(f"{API}/billings/search", json={"page": 0}).status_code
            == 400
        )
        period = {
            "start_time": "2020-01-01T00:00:00Z",
            "end_time": "2100-01-01T00:00:00Z",
        }
        used = visitor.api.post(f"{API}/user/usage_stats", json=period).json()["data"]
        summary = {"total_cost": 6.3, "total_requests": 3, "success_requests": 2}
        assert used["summary"] == summary
        assert [row["total_cost"] for row in used["per_model_usage"]] == [6.3]
        assert sum(row["total_requests"] for row in used["daily_usage"]) == 3
        assert visitor.api.post(f"{API}/user/usage_stats", json={}).status_code == 400


def test_the_list_wants_page_and_size(visitor: Visitor) -> None:
    for body in ({}, {"page": 1}, {"page": 0, "page_size": 5}):
        assert visitor.api.post(f"{API}/predictions", json=body).status_code == 400


def ticket(visitor: Visitor, **fields: Any) -> dict[str, Any]:
    asked = {"filename": "a b.png", "size": 5} | fields
    answer = visitor.api.post(f"{API}/media/uploads", json=asked)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def test_a_file_goes_up_by_ticket_and_comes_down_by_address(visitor: Visitor) -> None:
    data = ticket(visitor)
    assert (data["type"], data["filename"], data["size"]) == ("image", "a b.png", 5)
    how = data["upload"]
    assert how["method"] == "PUT"
    assert httpx.get(data["download_url"]).status_code == 403
    keyed = httpx.put(how["url"], content=b"bytes", headers=how["headers"] | KEY)
    assert keyed.status_code == 400
    naked = httpx.put(how["url"], content=b"bytes")
    assert (naked.status_code, "SignatureDoesNotMatch" in naked.text) == (403, True)
    short = httpx.put(how["url"], content=b"byt", headers=how["headers"])
    assert short.status_code == 400
    forged = how["url"].partition("?")[0]
    assert (
        httpx.put(forged, content=b"bytes", headers=how["headers"]).status_code == 403
    )
    good = httpx.put(how["url"], content=b"bytes", headers=how["headers"])
    assert good.status_code == 200
    again = httpx.put(how["url"], content=b"other", headers=how["headers"])
    assert again.status_code == 412
    found = httpx.get(data["download_url"])
    assert (found.content, found.headers["content-type"]) == (b"bytes", "image/png")
    part = httpx.get(data["download_url"], headers={"Range": "bytes=1-2"})
    assert (part.status_code, part.content) == (206, b"yt")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"filename": ""}, 400),
        ({"size": 0}, 400),
        ({"size": "5"}, 400),
        ({"size": 200 * 2**20 + 1}, 413),
    ],
)
def test_a_bad_ticket_is_refused(
    visitor: Visitor, fields: dict[str, Any], status: int
) -> None:
    asked = {"filename": "a.png", "size": 5} | fields
    answer = visitor.api.post(f"{API}/media/uploads", json=asked)
    assert answer.status_code == answer.json()["code"] == status


def test_a_file_goes_up_in_a_form(visitor: Visitor) -> None:
    files = {"file": ("clip.mp4", b"0" * 3_000_000, "video/mp4")}
    answer = visitor.api.post(f"{API}/media/upload/binary", files=files)
    data = answer.json()["data"]
    assert (data["type"], data["size"]) == ("video", 3_000_000)
    assert len(httpx.get(data["download_url"]).content) == 3_000_000
    wrong = visitor.api.post(f"{API}/media/upload/binary", files={"picture": b"1"})
    assert wrong.status_code == 400
    plain_body = visitor.api.post(f"{API}/media/upload/binary", content=b"1")
    assert plain_body.status_code == 415


def test_an_upload_lives_seven_days(tmp_path: Path) -> None:
    with visiting(tmp_path) as visitor:
        files = {"file": ("a.png", b"1", "image/png")}
        answer = visitor.api.post(f"{API}/media/upload/binary", files=files)
        path = answer.json()["data"]["download_url"].partition("/media/")[2]
    for offset, status in (("0", 200), (str(7 * 24 * 3600 + 1), 403)):
        with visiting(tmp_path, "--offset", offset) as visitor:
            fresh = ticket(visitor)["download_url"].partition("/media/")[0]
            assert httpx.get(f"{fresh}/media/{path}").status_code == status


def test_an_upload_that_is_not_there_fails_the_task_late(visitor: Visitor) -> None:
    url = ticket(visitor)["download_url"]
    data = visitor.bought(prompt=f"like {url}")
    assert (data["status"], data["code"]) == ("failed", 1402)


def test_the_balance_follows_the_till(tmp_path: Path) -> None:
    with visiting(tmp_path, "--refund-delay", "0", "--balance", "50") as visitor:
        visitor.bought()
        visitor.bought("status_timeout")
        deadline = time.monotonic() + 10
        while len(visitor.till) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        left = visitor.api.get(f"{API}/balance").json()["data"]
        assert left == {"balance": 47.9}
        assert plain(47_900_000) == "47.90"
