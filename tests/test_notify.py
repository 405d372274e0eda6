"""Whom a run tells that it has ended, and what it says."""

import json
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from batchgen import cli, notify
from batchgen.keys import NoticeKeys
from conftest import Story

DOCUMENT = {
    "schema": "batchgen.summary/1",
    "run": "spring",
    "exit": 1,
    "reason": "some_failed",
    "counts": {"total": 3, "done": 2, "failed": 1, "rejected": 0, "lost": 0}
    | {"uncertain": 0},
    "spent_usd": "4.20",
    "budget_usd": "60.00",
}


class Ear(HTTPServer):
    """A webhook on this machine; remembers what it is told."""

    heard: list[object]
    answer = 200


class _Hears(BaseHTTPRequestHandler):
    server: Ear

    def do_POST(self) -> None:
        size = int(self.headers["content-length"])
        self.server.heard.append(json.loads(self.rfile.read(size)))
        self.send_response(self.server.answer)
        self.send_header("location", "http://127.0.0.1:9/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def ear() -> Iterator[Ear]:
    server = Ear(("127.0.0.1", 0), _Hears)
    server.heard = []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def url(ear: Ear) -> str:
    return f"http://127.0.0.1:{ear.server_port}/secret-path"


def notice(**keys: object) -> NoticeKeys:
    return NoticeKeys.model_validate({"on": ["done", "failed"], **keys})


@pytest.mark.parametrize(
    ("reason", "counts", "found"),
    [
        ("done", {"done": 1}, {"done"}),
        ("nothing_to_do", {"done": 1, "failed": 1}, set()),
        ("some_failed", {"failed": 1}, {"failed"}),
        ("some_failed", {"lost": 1}, {"failed"}),
        ("budget", {"rejected": 1}, {"stopped", "failed"}),
        ("deadline", {}, {"stopped"}),
        ("still_rendering", {}, {"stopped"}),
        ("uncertain", {"uncertain": 1}, {"uncertain"}),
        ("network", {"uncertain": 2}, {"stopped", "uncertain"}),
    ],
)
def test_what_an_ending_was(
    reason: str, counts: dict[str, int], found: set[str]
) -> None:
    assert notify.happened({"reason": reason, "counts": counts}) == found


def test_a_webhook_gets_the_summary(ear: Ear) -> None:
    assert list(notify.send([notice(webhook=url(ear))], DOCUMENT)) == []
    assert ear.heard == [DOCUMENT]
    other = notice(on=["stopped"], webhook=url(ear))
    assert list(notify.send([other], DOCUMENT)) == []
    assert len(ear.heard) == 1


def test_slack_gets_a_sentence(ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "_SLACK", "127.0.0.1")
    assert list(notify.send([notice(webhook=url(ear))], DOCUMENT)) == []
    said = "spring: 2 of 3 clips done, 1 failed; $4.20 of $60.00 spent; some failed"
    assert ear.heard == [{"text": said}]


@pytest.mark.parametrize("answer", [302, 404, 500])
def test_a_webhook_that_does_not_take_it_is_told_without_its_address(
    ear: Ear, answer: int
) -> None:
    ear.answer = answer
    (trouble,) = notify.send([notice(webhook=url(ear))], DOCUMENT)
    assert trouble == f"the notice to 127.0.0.1 was answered with HTTP {answer}"
    (trouble,) = notify.send([notice(webhook="http://127.0.0.1:9/secret")], DOCUMENT)
    assert "did not get through" in trouble
    assert "secret" not in trouble


def script(folder: Path, text: str) -> list[str]:
    path = folder / "told.py"
    path.write_text(text, encoding="utf-8")
    return [sys.executable, str(path)]


def test_a_command_reads_the_summary_and_knows_no_key(tmp_path: Path) -> None:
    command = script(
        tmp_path,
        "import sys, os, pathlib\n"
        "text = sys.stdin.read() + str('WAVESPEED_API_KEY' in os.environ)\n"
        "pathlib.Path(sys.argv[1]).write_text(text)",
    )
    there = tmp_path / "there; touch no"
    environ = {**os.environ, "WAVESPEED_API_KEY": "secret"}
    one = notice(command=[*command, str(there)])
    assert list(notify.send([one], DOCUMENT, environ)) == []
    read, known = there.read_text().splitlines()
    assert json.loads(read) == DOCUMENT
    assert known == "False"


def test_a_command_that_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "_PATIENCE_WITH_COMMANDS", 0.5)
    slow = [sys.executable, "-c", "import time; time.sleep(60)"]
    commands = [["false"], [str(tmp_path / "no-such")], slow, ["a\0b"]]
    said = list(notify.send([notice(command=c) for c in commands], DOCUMENT))
    assert [text.split(" notice ")[1] for text in said] == [
        "ended with 1",
        "did not start: No such file or directory",
        "took too long and was ended",
        "did not start: ValueError",
    ]


def test_a_run_tells_how_it_ended_and_a_deaf_ear_changes_nothing(
    story: Story, ear: Ear
) -> None:
    keys = f"""notify:
  - {{ on: [done], webhook: "{url(ear)}" }}
  - {{ on: [stopped], webhook: "{url(ear)}" }}
  - {{ on: [done, stopped], command: ["false"] }}"""
    manifest = story.manifest(["tell boat 0", "tell boat 1"], keys)
    found = story.command("run", str(manifest), "--budget", "1.30", "--json")
    assert found.returncode == 3, found.stderr
    found = story.command("run", str(manifest), "--json")
    assert found.returncode == 0, found.stderr
    assert "warning: the command false of a notice ended with 1" in found.stderr
    assert story.command("run", str(manifest)).returncode == 0
    reasons = [told["reason"] for told in ear.heard if isinstance(told, dict)]
    assert reasons == ["budget", "done"]
    assert ear.heard[1] == json.loads(found.stdout)


def test_a_run_that_meets_nobody_tells_that(story: Story, ear: Ear) -> None:
    keys = f'notify: [{{ on: [stopped], webhook: "{url(ear)}" }}]'
    manifest = story.manifest(["deaf boat"], keys)
    story.environ["WAVESPEED_BASE_URL"] = "http://127.0.0.1:9"
    assert story.command("run", str(manifest)).returncode == 4
    (told,) = ear.heard
    assert isinstance(told, dict)
    assert (told["exit"], told["reason"]) == (4, "network")


def test_a_run_that_meets_a_mistake_of_ours_tells_that_too(
    story: Story,
    ear: Ear,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nobody watches at night: this above all must not pass in silence."""
    keys = f'notify: [{{ on: [stopped], webhook: "{url(ear)}" }}]'
    manifest = story.manifest(["bug boat"], keys)
    key = "a-story-key-of-its-own-1234567890"
    for name, value in {**story.env(), "WAVESPEED_API_KEY": key}.items():
        monkeypatch.setenv(name, value)

    def leave(*_: object, **__: object) -> None:
        raise RuntimeError(f"no luck with {key}")

    monkeypatch.setattr("batchgen.cli.results.leave", leave)
    assert cli.call(["run", str(manifest)]) == 70
    (told,) = ear.heard
    assert isinstance(told, dict)
    assert (told["exit"], told["reason"]) == (70, "bug")
    assert told["error"]["message"] == "RuntimeError: no luck with [key]"
    assert "This is a mistake in batchgen" in capsys.readouterr().err
