"""The vendor's own clients, unmodified, cannot tell the sandbox from the real thing."""

import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from visitor import Visitor, visiting
from wavespeed.api.client import Client

from batchgen.models import Model, catalog, published

KLING = "kwaivgi/kling-v3.0-4k/text-to-video"
PAPER = {"prompt": "A paper boat", "duration": 3}
CLI = "@wavespeed/cli@0.2.2"
"""The published version; it reads its address from its own configuration alone."""


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    data = tmp_path_factory.mktemp("vendor")
    more = ("--list-delay", "0", "--refund-delay", "0", "--balance", "100000")
    with visiting(data, "--profile", "plain", *more) as visitor:
        yield visitor


@pytest.fixture
def client(visitor: Visitor) -> Client:
    """The vendor's Python package, told nothing but a key and an address."""
    address = str(visitor.api.base_url).rstrip("/")
    return Client(api_key="any", base_url=address, retry_interval=0.01)


def arm(visitor: Visitor, fault: str) -> None:
    """Let the next request meet a fault; the client knows nothing of it."""
    answer = visitor.api.post("/__sandbox__/faults", content=fault)
    assert answer.status_code == 200, answer.text


def run(client: Client, model: str = KLING, **more: Any) -> list[Any]:
    options = {"input": PAPER, "poll_interval": 0.02, "timeout": 20} | more
    outputs: list[Any] = client.run(model, **options)["outputs"]
    return outputs


@pytest.mark.parametrize("model", [*catalog()], ids=lambda model: model.alias)
def test_python_runs_every_model(
    client: Client, visitor: Visitor, model: Model
) -> None:
    (output,) = run(client, model.id, input=dict(model.examples[0]["input"]))
    row = visitor.sold[-1]
    assert row["model"] == model.id
    assert float(row["price_usd"]) == float(model.examples[0]["price"])
    if model.kind == "elements":
        assert len(str(output["element_id"])) == 15
        assert output["element_name"] == row["input"]["name"]
    else:
        assert httpx.get(output, timeout=20).content[4:8] == b"ftyp"


def test_python_reads_a_result(client: Client, visitor: Visitor) -> None:
    identity = visitor.submit().json()["data"]["id"]
    answer = client.get_result(identity)
    assert (answer["code"], answer["data"]["id"]) == (200, identity)
    with pytest.raises(RuntimeError, match="HTTP 404"):
        client.get_result("0" * 32)


def test_python_uploads_a_file_and_uses_it(
    client: Client, visitor: Visitor, tmp_path: Path
) -> None:
    file = tmp_path / "boat.png"
    file.write_bytes(b"\x89PNG" + bytes(1000))
    url = client.upload(str(file))
    assert httpx.get(url).content == file.read_bytes()
    assert httpx.get(client.upload(io.BytesIO(b"abc"))).content == b"abc"
    model = "kwaivgi/kling-v3.0-4k/image-to-video"
    (output,) = run(client, model, input=PAPER | {"image": url})
    assert output.startswith("http")
    gone = url.replace("/media/", "/media/0")
    with pytest.raises(RuntimeError, match="input media"):
        run(client, model, input=PAPER | {"image": gone})
    assert [row["model"] for row in visitor.sold[-2:]] == [model, model]


@pytest.mark.parametrize(
    ("fault", "words", "charged"),
    [
        ("refuse_400", "HTTP 400", 0),
        ("refuse_429", "HTTP 429", 0),
        ("no_credit", "Insufficient credits", 0),
        ("no_credit_200", "No request ID", 0),
        ("drop_before_accept", "may already have been created", 0),
        ("drop_after_accept", "may already have been created", 1),
        ("reset_after_accept", "may already have been created", 1),
        ("accept_502_html", "HTTP 502", 1),
        ("accept_no_id", "No request ID", 1),
        ("fail_moderation", "flagged as potentially sensitive", 1),
        ("fail_provider", "Internal error", 1),
        ("status_cancelled", "Prediction cancelled", 1),
        ("status_timeout", "Prediction timeout", 1),
        ("status_deleted", "Prediction deleted", 1),
    ],
)
def test_python_tells_a_failure_and_pays_once(
    client: Client, visitor: Visitor, fault: str, words: str, charged: int
) -> None:
    before = len(visitor.sold)
    arm(visitor, fault)
    with pytest.raises(RuntimeError, match=words):
        run(client)
    assert len(visitor.sold) == before + charged


def test_python_gives_up_waiting_and_finds_the_task_later(
    client: Client, visitor: Visitor
) -> None:
    arm(visitor, "stuck")
    with pytest.raises(TimeoutError, match="task_id"):
        run(client, timeout=0.2)
    identity = visitor.sold[-1]["prediction_id"]
    assert client.get_result(identity)["data"]["status"] == "processing"
    before = len(visitor.sold)
    arm(visitor, "stuck")
    told = client.run_no_throw(KLING, PAPER, timeout=0.2)
    assert told["status"] == "failed"
    assert told["task_id"] == visitor.sold[-1]["prediction_id"]
    assert len(visitor.sold) == before + 1


def test_python_hears_nothing_and_does_not_ask_again(
    client: Client, visitor: Visitor
) -> None:
    before = len(visitor.sold)
    arm(visitor, "slow_answer=1")
    with pytest.raises(RuntimeError, match="may already have been created"):
        run(client, timeout=0.2)
    assert len(visitor.sold) == before + 1


@pytest.mark.parametrize("fault", ["result_500", "result_429", "result_drop"])
def test_python_reads_again_when_reading_fails(
    client: Client, visitor: Visitor, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(visitor.sold)
    arm(visitor, fault)
    assert len(run(client)) == 1
    assert "etrying in" in capsys.readouterr().out
    assert len(visitor.sold) == before + 1


def test_python_meets_a_wrong_key(visitor: Visitor) -> None:
    stranger = Client(api_key="wrong-key", base_url=str(visitor.api.base_url))
    before = len(visitor.sold)
    with pytest.raises(RuntimeError, match="HTTP 401"):
        run(stranger)
    with pytest.raises(RuntimeError, match="HTTP 401"):
        stranger.upload(io.BytesIO(b"a"))
    assert len(visitor.sold) == before


def test_sync_mode_is_dropped_as_no_kling_model_has_it(
    client: Client, visitor: Visitor
) -> None:
    told = client.run_no_throw(KLING, PAPER, enable_sync_mode=True)
    assert (told["status"], told["outputs"]) == ("failed", None)
    assert told["task_id"] == visitor.sold[-1]["prediction_id"]


def test_python_understands_both_answers_of_a_sync_mode(
    client: Client, visitor: Visitor
) -> None:
    arm(visitor, "sync_completed")
    good = client.run(KLING, PAPER, enable_sync_mode=True)
    assert good["outputs"][0].startswith("http")
    arm(visitor, "sync_timeout")
    late = client.run_no_throw(KLING, PAPER, enable_sync_mode=True)
    assert late["status"] == "processing"


# The command line of the vendor, which is a program of Node.

APART = ("unshare", "--map-root-user", "--net", "--")
"""Begins a program where no network is, not even a loopback that is up."""

WITH_LOOPBACK = """
import fcntl, os, socket, struct, sys
with socket.socket() as any_socket:  # SIOCSIFFLAGS: lo is up and running
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh22x", b"lo", 0x41))
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
OUTWARD = """
import errno, socket
with socket.socket() as outward:
    outward.settimeout(5)
    assert outward.connect_ex(("192.0.2.1", 443)) == errno.ENETUNREACH
"""


def missing() -> str:
    """Why the command line cannot be tried here; empty if it can."""
    for program in ("node", "npm", "unshare", "nsenter"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    done = subprocess.run([*APART, "true"], capture_output=True, check=False)
    return "no network namespace may be made here" if done.returncode else ""


def installed() -> Path:
    """The pinned package, in a cache folder outside of the repository."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "batchgen-tests" / CLI.replace("/", "-").lstrip("@")
    program = folder / "node_modules" / "@wavespeed" / "cli" / "dist" / "cli.js"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        quiet = ("--no-audit", "--no-fund", "--ignore-scripts")
        done = subprocess.run(
            ["npm", "install", "--prefix", str(folder), *quiet, CLI],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"npm does not fetch {CLI}: {done.stderr.strip()[-200:]}")
    return program


@dataclass(frozen=True)
class Terminal:
    """The vendor's command line beside a sandbox, with nothing else in reach."""

    program: Path
    home: Path
    inside: int

    def enter(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a program in the sandbox's namespace, in a home of its own."""
        namespace = ("--target", str(self.inside), "--user", "--net")
        folders = {
            "HOME": self.home,
            "XDG_CONFIG_HOME": self.home / "config",
            "XDG_CACHE_HOME": self.home / "cache",
        }
        mine = {"PATH": os.environ["PATH"], "WAVESPEED_API_KEY": "any"}
        return subprocess.run(
            ["nsenter", *namespace, "--preserve-credentials", "--", *command],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=self.home,
            env=mine | {name: str(folder) for name, folder in folders.items()},
        )

    def wavespeed(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """One command."""
        return self.enter("node", str(self.program), *arguments)

    def json(self, *arguments: str) -> Any:
        """One command that answers in JSON."""
        done = self.wavespeed(*arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def sold(self) -> list[tuple[str, int]]:
        """Id and micro-dollars of every charge, read from the till's file."""
        uri = f"file:{self.home / 'data' / 'sandbox.db'}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as till:
            rows = till.execute("SELECT id, price FROM predictions ORDER BY created")
            return rows.fetchall()


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A sandbox without a network, and the command line pointed at it."""
    if reason := missing():
        pytest.skip(reason)
    program, home = installed(), tmp_path_factory.mktemp("cli")
    sandbox = ("-m", "batchgen.sandbox", "--ends-with-stdin", "--list-delay", "0")
    more = ("--profile", "plain", "--speed", "1800", "--data", str(home / "data"))
    with subprocess.Popen(
        [*APART, sys.executable, "-c", WITH_LOOPBACK, *sandbox, *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as started:
        assert started.stdout is not None
        address = json.loads(started.stdout.readline())["api"]
        found = Terminal(program, home, started.pid)
        done = found.enter(sys.executable, "-c", OUTWARD)
        assert done.returncode == 0, done.stderr
        # This version reads the address from its configuration alone.
        assert address in found.wavespeed("config", "--base-url", address).stdout
        assert address in found.wavespeed("status").stdout
        yield found


@pytest.mark.slow
def test_the_command_line_buys_shows_lists_and_deletes(terminal: Terminal) -> None:
    told = terminal.json("run", KLING, "-p", "A boat", "-i", "duration=3", "--download")
    (charge,) = terminal.sold()
    assert charge[1] == 1_260_000
    assert told["model"] == KLING
    (saved,) = told["saved"]
    assert Path(saved).read_bytes()[4:8] == b"ftyp"
    shown = terminal.json("show", charge[0])
    assert (shown["id"], shown["status"]) == (charge[0], "completed")
    assert shown["outputs"] == told["outputs"]
    assert "A boat" in terminal.wavespeed("history").stdout
    (item,) = terminal.json("history", "--model", KLING, "--status", "completed")[
        "items"
    ]
    assert item["inputs"] == {"prompt": "A boat", "duration": 3}
    terminal.json("download", told["outputs"][0], "-o", "again.mp4")
    assert (terminal.home / "again.mp4").read_bytes() == Path(saved).read_bytes()
    assert terminal.json("delete", charge[0])["deleted"] == [charge[0]]
    assert terminal.json("history")["items"] == []
    gone = terminal.wavespeed("show", charge[0], "--json")
    assert (gone.returncode, "404" in gone.stdout) == (1, True)
    assert terminal.sold() == [charge]


@pytest.mark.slow
def test_the_command_line_knows_prices_models_and_schemas(terminal: Terminal) -> None:
    price = terminal.json("price", KLING, "-i", "duration=10")
    assert price == {"model_id": KLING, "unit_price": 4.2, "currency": "USD"}
    assert terminal.json("balance")["balance"] > 900
    assert "$" in terminal.wavespeed("balance").stdout
    listed = terminal.json("models", "--refresh")
    assert {entry["model_id"] for entry in listed} == {m.id for m in catalog()}
    assert KLING in terminal.wavespeed("models", "4k").stdout
    for model in catalog():
        schema = terminal.json("schema", model.id)
        assert schema.keys() >= {"properties", "x-order-properties"}
        assert schema["properties"] == published(model.schema)["properties"]
    assert "duration" in terminal.wavespeed("schema", KLING).stdout
    assert "Inputs" in terminal.wavespeed("run", KLING, "--help").stdout


@pytest.mark.slow
def test_the_command_line_uploads_and_uses_a_file(terminal: Terminal) -> None:
    file = terminal.home / "boat.png"
    file.write_bytes(bytes(5000))
    url = terminal.json("upload", "boat.png")["url"]
    terminal.json("download", url, "-o", "back.png")
    assert (terminal.home / "back.png").read_bytes() == file.read_bytes()
    model = "kwaivgi/kling-v3.0-4k/image-to-video"
    told = terminal.json("run", model, "-p", "It moves", "-i", f"image={url}")
    assert len(told["outputs"]) == 1


@pytest.mark.slow
def test_the_command_line_tells_a_refusal(terminal: Terminal) -> None:
    before = terminal.sold()
    refused = terminal.wavespeed("run", KLING, "-p", "a", "-i", "duration=2", "--json")
    assert refused.returncode == 1
    assert "must be one of" in refused.stdout + refused.stderr
    wrong = terminal.wavespeed("login", "--api-key", "wrong-key", "--no-browser")
    assert wrong.returncode == 1
    good = terminal.wavespeed("login", "--api-key", "a-good-key", "--no-browser")
    assert (good.returncode, "Signed in" in good.stderr) == (0, True)
    assert terminal.sold() == before
