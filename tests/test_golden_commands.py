"""What is not about the file: exact texts, said by real commands.

Only what differs from machine to machine and from minute to minute is written with a
word in its place: PID, HOST, HH:MM, MANIFEST.
"""

import re
import socket
from pathlib import Path

import goldens
import pytest

from batchgen.journal import Journal
from batchgen.money import round_up
from batchgen.world import World
from conftest import Story, sandboxed

SPRING = Path(__file__).parent.parent / "manifests" / "spring-launch.yaml"


def golden(name: str) -> str:
    return (goldens.FOLDER / "commands" / f"{name}.txt").read_text(encoding="utf-8")


def plain(text: str, manifest: Path) -> str:
    """A text without what no two runs have in common."""
    text = text.replace(str(manifest), "MANIFEST").replace(socket.gethostname(), "HOST")
    text = re.sub(r"process [0-9]+", "process PID", text)
    text = re.sub(r"\b[0-9]{2}:[0-9]{2}:[0-9]{2}\b", "HH:MM:SS", text)
    return re.sub(r"\b[0-9]{2}:[0-9]{2}\b(?!:)", "HH:MM", text)


def test_a_live_run_without_a_cap(story: Story, tmp_path: Path) -> None:
    text = SPRING.read_text(encoding="utf-8")
    manifest = tmp_path / "spring.yaml"
    manifest.write_text(re.sub(r"(?m)^budget:.*\n", "", text), encoding="utf-8")
    sheet = SPRING.with_name("products.csv")
    (tmp_path / sheet.name).write_bytes(sheet.read_bytes())
    story.environ["WAVESPEED_BASE_URL"] = "https://127.0.0.1.invalid"
    found = story.command("run", str(manifest))
    assert (found.returncode, found.stderr) == (2, golden("no-budget"))


def test_no_key(story: Story) -> None:
    manifest = story.manifest(["keyless boat"])
    story.environ["WAVESPEED_API_KEY"] = ""
    found = story.command("run", str(manifest))
    assert (found.returncode, found.stderr) == (2, golden("no-key"))


def test_a_key_that_is_refused(story: Story) -> None:
    boats = ["refused boat one", "refused boat two"]
    assert story.command("run", str(story.manifest(boats))).returncode == 0
    manifest = story.manifest([*boats, "refused boat three"])
    story.environ["WAVESPEED_API_KEY"] = "wrong-key"
    found = story.command("run", str(manifest))
    assert (found.returncode, found.stderr) == (4, golden("bad-key"))
    assert len(story.till("refused boat")) == len(boats)


def test_a_run_that_another_process_holds(story: Story) -> None:
    manifest = story.manifest(["held boat"])
    with Journal.open(story.folder(manifest), World()):
        found = story.command("run", str(manifest))
    assert found.returncode == 5
    assert plain(found.stderr, manifest) == golden("locked")


def test_a_clip_in_doubt(tmp_path: Path) -> None:
    faults = tmp_path / "faults.yaml"
    rule = "{fault: drop_before_accept, at: [1]}"
    faults.write_text(f"seed: 7\nrules: [{rule}]\n", encoding="utf-8")
    manifest = tmp_path / "doubt.jsonl"
    line = '{"id": "doubt", "prompt": "A boat", "duration": 3}\n'
    manifest.write_text(line, encoding="utf-8")
    with sandboxed(tmp_path, "--faults", str(faults)) as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        found = story.command("run", str(manifest))
    assert found.returncode == 6
    _, _, said = plain(found.stdout, manifest).partition("\n\n")
    assert said == golden("uncertain")


@pytest.mark.parametrize(
    ("cost", "cap"),
    [
        (1, "1"),
        (4_200_000, "5"),
        (9_990_000, "10"),
        (52_080_000, "60"),
        (99_500_000, "100"),
        (378_000_000, "380"),
        (1_050_000_000, "1100"),
    ],
)
def test_the_cap_that_is_advised_is_round_and_enough(cost: int, cap: str) -> None:
    assert round_up(cost) == cap
