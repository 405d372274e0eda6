"""`doctor` says before the night what would stop it, and `status` what goes on."""

import json
import re
from pathlib import Path

from conftest import Story


def test_a_healthy_account(story: Story) -> None:
    found = story.command("doctor")
    lines = {line[6:16].strip(): line for line in found.stdout.splitlines()}
    assert found.returncode == 0
    assert lines["key"].startswith(
        "ok    key        found in WAVESPEED_API_KEY, fingerprint "
    )
    assert "clips of 5 s)" in lines["balance"]
    # Dates of whole seconds, asked for on a machine that may be busy.
    assert re.fullmatch(r"ok    clock      [0-2] s from the server", lines["clock"])
    assert lines["disk"].startswith("ok ")
    assert "story-key" not in found.stdout + found.stderr


def test_each_trouble_has_its_word_and_its_code(story: Story, tmp_path: Path) -> None:
    story.environ["WAVESPEED_API_KEY"] = "wrong-key"
    refused = story.command("doctor", "--json")
    story.environ["WAVESPEED_API_KEY"] = ""
    absent = story.command("doctor")
    story.environ.clear()
    story.environ["BATCHGEN_OUTPUTS"] = str(tmp_path / "file")
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    nowhere = story.command("doctor", "--json")

    document = json.loads(refused.stdout)
    assert (refused.returncode, document["reason"]) == (4, "key")
    assert document["checks"][0]["name"] == "key"
    assert "wrong-key" not in refused.stdout
    assert absent.returncode == 4
    assert absent.stdout.startswith("fail  key        none found\n")
    assert nowhere.returncode == 8
    bad = [
        one for one in json.loads(nowhere.stdout)["checks"] if one["level"] == "fail"
    ]
    assert [one["name"] for one in bad] == ["disk"]


def test_a_proxy_meant_for_others_is_told_once(story: Story) -> None:
    story.environ["HTTPS_PROXY"] = "http://user:secret@127.0.0.1:1"
    here = story.command("doctor")
    assert here.returncode == 0
    assert "secret" not in here.stdout
    assert "proxy" not in here.stdout  # a sandbox on this machine needs none


def test_status_lists_what_was_selected(story: Story) -> None:
    manifest = story.manifest(["lister one", "lister two"], "budget: 10")
    assert story.command("run", str(manifest), "--yes").returncode == 0
    listed = story.command("status", manifest.stem, "-s", "lister-two*")
    rows = [line for line in listed.stdout.splitlines() if line.startswith("  done")]
    assert len(rows) == 1
    assert "lister-two" in rows[0]
    assert "$1.26" in rows[0]
    whole = story.command("status", manifest.stem, "-v")
    assert sum(line.startswith("  done") for line in whole.stdout.splitlines()) == 2
    watched = story.command("status", manifest.stem, "--watch")
    assert watched.returncode == 0  # nobody works on it, so it ends
    assert "2 of 2 clips done" in watched.stdout


def test_a_selection_of_nothing_is_a_slip(story: Story) -> None:
    manifest = story.manifest(["nobody here"], "budget: 10")
    found = story.command("plan", str(manifest), "-s", "locale=de-DE")
    assert found.returncode == 2
    assert "no task matches locale=de-DE [matches-nothing]" in found.stderr


def test_downloads_that_go_beside_the_proxy_are_told(story: Story) -> None:
    story.environ["BATCHGEN_PROXY"] = "https://127.0.0.1:9"
    found = story.command("doctor", "--json")
    checks = json.loads(found.stdout)["checks"]
    (told,) = [one for one in checks if one["name"] == "proxy"]
    assert "downloads go direct" in told["text"]
