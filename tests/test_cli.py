"""Each command once, as a user types it: what it prints, and how it ends."""

import json
import signal
import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from batchgen import journal
from batchgen.cli.question import ask
from batchgen.errors import UsageError
from batchgen.plan import Plan
from conftest import Story, sandboxed

MANIFESTS = Path(__file__).parent.parent / "manifests"

FIVE_MISTAKES = """\
name: spring
budget: 60 USD
settings:
  durration: 5
  cfg_scale: 5
prompt: A mug, {{ hook }}
matrix:
  hook: [steam, unbox]
  aspect_ratio: [9:16, 4:5]
task_timeout: 9
"""


def lines_of(text: str) -> list[str]:
    """The first lines of all findings."""
    return [line for line in text.splitlines() if ": error: " in line]


def test_five_mistakes_are_shown_at_once_with_their_places(story: Story) -> None:
    path = story.root / "spring.yaml"
    path.write_text(FIVE_MISTAKES, encoding="utf-8")
    found = story.command("run", str(path), "--yes")
    assert found.returncode == 2
    assert [line.removeprefix(f"{path}:") for line in lines_of(found.stderr)] == [
        "2:9: error: budget must be a number of US dollars [bad-money]",
        "4:3: error: unknown setting `durration` [unknown-key]",
        "5:14: error: cfg_scale is 5, but it runs from 0 to 1 [out-of-range]",
        "9:24: error: Kling V3.0 4K has no aspect ratio 4:5 [not-allowed]",
        "10:15: error: a length of time needs its unit [bad-duration]",
    ]
    assert found.stderr.rstrip().endswith(
        "5 errors. Nothing was submitted, nothing was charged."
    )
    assert found.stdout == ""


def test_validate_tells_a_program_the_same(story: Story) -> None:
    path = story.root / "program.yaml"
    path.write_text(FIVE_MISTAKES, encoding="utf-8")
    found = story.command("validate", str(path), "--json")
    document = json.loads(found.stdout)
    assert (found.returncode, document["exit"]) == (2, 2)
    assert [one["rule"] for one in document["findings"]] == [
        "bad-money",
        "unknown-key",
        "out-of-range",
        "not-allowed",
        "bad-duration",
    ]


def test_the_plan_of_the_spring_launch_is_a_page(story: Story) -> None:
    found = story.command("plan", str(MANIFESTS / "spring-launch.yaml"))
    assert found.returncode == 0
    page = found.stdout
    assert "to buy            25       124     $52.08     cap $60.00" in page
    assert (
        "product 2 x locale 3 x aspect_ratio 3 x hook 2 = 36, "
        "12 excluded, 1 included" in page
    )


def test_a_plan_as_tasks_is_a_manifest_of_the_same_tasks(story: Story) -> None:
    first = story.command("plan", str(MANIFESTS / "spring-launch.yaml"), "--tasks")
    frozen = story.root / "frozen.jsonl"
    frozen.write_text(first.stdout, encoding="utf-8")
    again = story.command("plan", str(frozen), "--tasks")
    assert again.stdout == first.stdout
    assert len(first.stdout.splitlines()) == 25


def test_a_selection_and_a_limit_choose_the_same_clips_again(story: Story) -> None:
    manifest = story.manifest([f"pick boat {n}" for n in range(6)])
    for _ in range(2):
        found = story.command("run", str(manifest), "-n", "2")
        assert found.returncode == 0, found.stderr
        assert len(story.till("pick ")) == 2
    found = story.command("run", str(manifest), "-s", "pick-boat-5*", "-q")
    assert found.returncode == 0
    assert [one.prompt for one in story.till("pick ")][2:] == ["pick boat 5"]


def test_a_plan_that_has_changed_is_not_bought(story: Story) -> None:
    manifest = story.manifest(["agreed boat 0"])
    plan = json.loads(story.command("plan", str(manifest), "--json").stdout)["plan"]
    story.manifest(["agreed boat 1"])
    found = story.command("run", str(manifest), "--plan", plan)
    assert (found.returncode, story.till("agreed ")) == (2, [])
    story.manifest(["agreed boat 0"])
    assert story.command("run", str(manifest), "--plan", plan).returncode == 0
    assert len(story.till("agreed ")) == 1


def test_a_run_leaves_a_folder_that_explains_itself(story: Story) -> None:
    manifest = story.manifest(["tidy boat 0", "tidy boat 1"])
    found = story.command("run", str(manifest), "--json")
    document = json.loads(found.stdout)
    assert (found.returncode, document["exit"], document["reason"]) == (0, 0, "done")
    assert document["counts"]["done"] == document["counts"]["total"] == 2
    assert '"spent_usd": 2.52' in found.stdout
    folder = story.folder(manifest)
    assert json.loads((folder / "summary.json").read_text("utf-8")) == document
    sheet = (folder / "results.csv").read_bytes()
    assert sheet.startswith(b"\xef\xbb\xbf")
    assert len(sheet.splitlines()) == 3
    clips = sorted((folder / "videos").glob("*.mp4"))
    sidecar = json.loads(clips[0].with_suffix(".json").read_text("utf-8"))
    assert sidecar["request"]["prompt"] == "tidy boat 0"
    assert len((folder / "tasks.jsonl").read_text("utf-8").splitlines()) == 2
    left = json.loads((folder / ".tasks.ids").read_text("utf-8"))
    assert left["size"] == (folder / "tasks.jsonl").stat().st_size
    assert len(left["ids"]) == 2
    assert "done 2/2" in (folder / "run.log").read_text("utf-8")


def test_the_key_is_in_no_file_and_in_no_word(story: Story) -> None:
    story.environ["WAVESPEED_API_KEY"] = canary = "canary-5f0c2d1e9b"
    manifest = story.manifest(["quiet boat 0"])
    found = story.command("run", str(manifest), "-v")
    assert found.returncode == 0
    assert canary not in found.stdout + found.stderr
    for path in story.folder(manifest).rglob("*"):
        assert path.is_dir() or canary.encode() not in path.read_bytes(), path


def test_status_counts_what_is_left(story: Story) -> None:
    manifest = story.manifest([f"left boat {n}" for n in range(4)])
    story.command("run", str(manifest), "--budget", "2.60")
    found = story.command("status", manifest.stem, "--json")
    document = json.loads(found.stdout)
    assert document["counts"]["done"] == 2
    assert document["counts"]["pending"] == 2
    words = [task["status"] for task in document["tasks"]]
    assert sorted(words) == ["done", "done", "pending", "pending"]
    everything = story.command("status")
    assert f"{manifest.stem}.sandbox" in everything.stdout


def test_a_deleted_clip_is_fetched_again_for_nothing(story: Story) -> None:
    manifest = story.manifest(["gone boat 0"])
    story.command("run", str(manifest))
    clip = next((story.folder(manifest) / "videos").glob("*.mp4"))
    whole = clip.read_bytes()
    clip.unlink()
    assert story.command("run", str(manifest)).returncode == 0
    assert clip.read_bytes() == whole
    assert len(story.till("gone ")) == 1


def videos(story: Story, manifest: Path) -> list[str]:
    """The clips of a run, by name below its videos folder."""
    folder = story.folder(manifest) / "videos"
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.mp4"))


def sheet(story: Story, *rows: str) -> Path:
    """A spreadsheet of tasks: id, prompt, place."""
    path = story.root / "edit.csv"
    text = "\n".join(("id,prompt,duration,place", *rows))
    path.write_text(f"{text}\n", encoding="utf-8")
    return path


def test_an_edit_moves_files_and_buys_only_what_changed(story: Story) -> None:
    edit = sheet(story, "a,edit boat one,3,sea", "b,edit boat two,3,lake")
    assert story.command("run", str(edit)).returncode == 0
    folder = story.folder(edit) / "videos"
    first = folder / "a.mp4"
    inode = first.stat().st_ino

    # A new id is a new name, a new label is nothing, and neither costs anything.
    edit = sheet(story, "boat-a,edit boat one,3,sea", "b,edit boat two,3,pond")
    story.environ["WAVESPEED_API_KEY"] = ""
    assert story.command("run", str(edit)).returncode == 0
    assert videos(story, edit) == ["b.mp4", "boat-a.mp4"]
    assert (folder / "boat-a.mp4").stat().st_ino == inode
    assert (folder / "boat-a.json").is_file()
    assert len(story.till("edit ")) == 2

    # A new prompt is a new clip; the old one goes to `_previous/`.
    story.environ.clear()
    edit = sheet(story, "boat-a,edit boat three,3,sea", "b,edit boat two,3,pond")
    assert story.command("run", str(edit)).returncode == 0
    names = videos(story, edit)
    assert names[0].startswith("_previous/boat-a~")
    assert names[1:] == ["b.mp4", "boat-a.mp4"]
    assert (folder / names[0]).stat().st_ino == inode
    assert len(story.till("edit ")) == 3

    # Back again: what was bought is still there, and takes its name back.
    edit = sheet(story, "boat-a,edit boat one,3,sea", "b,edit boat two,3,pond")
    assert story.command("run", str(edit)).returncode == 0
    assert (folder / "boat-a.mp4").stat().st_ino == inode
    assert len(story.till("edit ")) == 3

    # A removed row stays on disk.
    edit = sheet(story, "b,edit boat two,3,pond")
    assert story.command("run", str(edit)).returncode == 0
    assert "boat-a.mp4" in videos(story, edit)
    assert len(story.till("edit ")) == 3


def test_two_clips_may_swap_their_names(story: Story) -> None:
    edit = sheet(story, "a,swap boat one,3,sea", "b,swap boat two,3,lake")
    story.command("run", str(edit), "--run", "swap")
    folder = story.root / "outputs" / "swap.sandbox" / "videos"
    before = {path.stat().st_ino for path in folder.glob("*.mp4")}
    edit = sheet(story, "b,swap boat one,3,sea", "a,swap boat two,3,lake")
    for _ in range(2):
        found = story.command("run", str(edit), "--run", "swap")
        assert found.returncode == 0, found.stderr
        assert {path.stat().st_ino for path in folder.glob("*.mp4")} == before
    assert len(story.till("swap ")) == 2


def test_nothing_to_do_needs_no_key_and_no_network(story: Story) -> None:
    manifest = story.manifest(["still boat 0"])
    assert story.command("run", str(manifest)).returncode == 0
    story.environ["WAVESPEED_API_KEY"] = ""
    story.environ["WAVESPEED_BASE_URL"] = "http://127.0.0.1:9"
    found = story.command("run", str(manifest), "--json")
    assert found.returncode == 0
    assert json.loads(found.stdout)["reason"] == "nothing_to_do"


@pytest.mark.parametrize(
    ("environ", "code", "rule"),
    [
        ({"WAVESPEED_API_KEY": ""}, 2, "no-key"),
        ({"WAVESPEED_API_KEY": "wrong-key"}, 4, "bad-key"),
        ({"WAVESPEED_BASE_URL": "http://127.0.0.1:9"}, 4, "network"),
        ({"WAVESPEED_BASE_URL": "http://example.com"}, 2, "bad-base-url"),
        ({"WAVESPEED_BASE_URL": "https://api.wavespeed.ai"}, 2, "no-budget"),
        ({"BATCHGEN_OUTPUTS": "/dev/null/here"}, 8, "disk"),
        ({"BATCHGEN_MAX_BUDGET": "lots"}, 2, "bad-money"),
    ],
)
def test_trouble_is_one_clear_line(
    story: Story, environ: dict[str, str], code: int, rule: str
) -> None:
    manifest = story.manifest([f"trouble boat {rule}"])
    story.environ |= environ
    found = story.command("run", str(manifest))
    errors = [line for line in found.stderr.splitlines() if line.startswith("error: ")]
    assert found.returncode == code, found.stderr
    assert len(errors) == 1
    assert errors[0].endswith(f"[{rule}]")
    assert "Traceback" not in found.stderr
    assert story.till("trouble ") == []


def test_the_plan_of_a_live_run_shows_its_cap(story: Story) -> None:
    story.environ["WAVESPEED_BASE_URL"] = "https://127.0.0.1.invalid"
    manifest = story.manifest(["live boat 0"], "budget: 5")
    found = story.command("plan", str(manifest))
    assert found.returncode == 0
    assert "cap $5.00, leaves $3.74" in found.stdout


SMALL = Plan(to_buy=2, cost=4_200_000)
LARGE = Plan(to_buy=25, cost=52_080_000)


def asked(plan: Plan, typed: str, *, tty: bool = True) -> tuple[str, str]:
    """What a person reads, and the rule that stops it, if one does."""

    @click.command()
    def command() -> None:
        ask("spring", plan, 60_000_000, 50_000_000, tty=tty)

    result = CliRunner().invoke(command, input=typed)
    stopped = result.exception
    assert stopped is None or isinstance(stopped, UsageError), stopped
    return result.stderr, stopped.rule if stopped else ""


@pytest.mark.parametrize(
    ("plan", "typed", "rule"),
    [
        (SMALL, "y\n", ""),
        (SMALL, "\n", "cancelled"),
        (LARGE, "52.08\n", ""),
        (LARGE, "$52.08\n", ""),
        (LARGE, "y\n", "cancelled"),
        (LARGE, "52\n", "cancelled"),
        (LARGE, "\n", "cancelled"),
    ],
)
def test_from_ten_dollars_on_the_amount_is_typed(
    plan: Plan, typed: str, rule: str
) -> None:
    assert asked(plan, typed)[1] == rule


def test_the_question_names_cap_and_balance() -> None:
    text, _ = asked(LARGE, "\n")
    assert text.splitlines()[:2] == [
        "The account's balance of $50.00 does not cover this plan.",
        "spring: buy 25 clips for $52.08   (cap $60.00, account balance $50.00)",
    ]


def test_nobody_is_asked_without_a_terminal() -> None:
    assert asked(SMALL, "y\n", tty=False)[1] == "no-terminal"


def test_the_ceiling_of_the_machine_wins(story: Story) -> None:
    story.environ["BATCHGEN_MAX_BUDGET"] = "2"
    manifest = story.manifest(["ceiling boat 0", "ceiling boat 1"])
    assert story.command("run", str(manifest), "--budget", "50").returncode == 3
    assert len(story.till("ceiling ")) == 1


def test_a_run_of_another_endpoint_is_refused(story: Story) -> None:
    manifest = story.manifest(["moved boat 0"])
    story.command("run", str(manifest))
    state = story.folder(manifest) / journal.NAME
    live = story.root / "outputs" / manifest.stem
    live.mkdir()
    (live / journal.NAME).write_bytes(state.read_bytes())
    story.environ["WAVESPEED_BASE_URL"] = "https://127.0.0.1.invalid"
    story.manifest(["moved boat 1"], "budget: 5")
    found = story.command("run", str(manifest), "--yes")
    assert (found.returncode, "[other-endpoint]" in found.stderr) == (7, True)


def test_an_edited_state_file_stops_spending(story: Story) -> None:
    manifest = story.manifest(["edited boat 0"])
    story.command("run", str(manifest))
    state = story.folder(manifest) / journal.NAME
    state.write_bytes(state.read_bytes().replace(b'"1260000"', b'"0000001"', 1))
    story.manifest(["edited boat 0", "edited boat 1"])
    found = story.command("run", str(manifest))
    assert (found.returncode, "[edited]" in found.stderr) == (7, True)
    assert len(story.till("edited ")) == 1
    looked = story.command("status", manifest.stem)
    assert looked.returncode == 0
    assert looked.stderr.startswith("warning: line 2 of the state file was edited")


def test_a_provider_failure_is_retried_as_often_as_allowed(tmp_path: Path) -> None:
    plan = tmp_path / "faults.yaml"
    plan.write_text("seed: 1\nrules: [{fault: fail_provider, at: [1, 2]}]\n", "utf-8")
    with sandboxed(tmp_path, "--faults", str(plan)) as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        retry = "retry: {attempts: 2, backoff: 1s}"
        manifest = story.manifest(["failing boat 0"], retry)
        first = story.command("run", str(manifest))
        assert first.returncode == 1, first.stderr
        assert len(story.till("failing ")) == 2
        # A failed clip is tried again by the same line, its failures paid back later.
        assert story.command("run", str(manifest)).returncode == 0
        assert len(story.till("failing ")) == 3


def test_moderation_is_never_retried_by_itself(tmp_path: Path) -> None:
    plan = tmp_path / "faults.yaml"
    plan.write_text("seed: 1\nrules: [{fault: fail_moderation, at: [1]}]\n", "utf-8")
    with sandboxed(tmp_path, "--faults", str(plan)) as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        manifest = story.manifest(["rude boat 0"], "retry: 3")
        for _ in range(2):
            assert story.command("run", str(manifest)).returncode == 1
            assert len(story.till("rude ")) == 1
        again = story.command("run", str(manifest), "--retry", "rejected")
        assert again.returncode == 0, again.stderr
        assert len(story.till("rude ")) == 2


def test_an_empty_purse_stops_the_run_and_keeps_the_queue(tmp_path: Path) -> None:
    with sandboxed(tmp_path, "--balance", "2.60") as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        manifest = story.manifest([f"poor boat {n}" for n in range(5)])
        found = story.command("run", str(manifest), "--json")
        document = json.loads(found.stdout)
        assert (found.returncode, document["reason"]) == (4, "credit")
        assert document["counts"]["done"] == len(story.till("poor ")) == 2
        assert document["counts"]["pending"] == 3


@pytest.mark.slow
def test_a_bad_night_costs_what_the_till_says(tmp_path: Path) -> None:
    with sandboxed(tmp_path, "--faults", "flaky", "--balance", "9999") as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        manifest = story.manifest([f"night boat {n}" for n in range(30)], "retry: 2")
        for _ in range(6):
            found = story.command("run", str(manifest), "--retry", "absent")
            assert found.returncode in (0, 1, 3, 6), found.stderr
            charged = story.kept("night ")  # what was given back is free again
            document = json.loads(
                story.command("status", manifest.stem, "--json").stdout
            )
            assert charged <= round(document["committed_usd"] * 1_000_000)
            if found.returncode == 0:
                break
        assert document["counts"]["done"] + document["counts"]["rejected"] == 30


def test_sandbox_stands_alone_and_ends_by_signal(story: Story, tmp_path: Path) -> None:
    running = story.start("sandbox", "--port", "0", "--data", str(tmp_path / "alone"))
    assert running.stdout is not None
    addresses = json.loads(running.stdout.readline())
    assert set(addresses) == {"api", "downloads"}
    running.send_signal(signal.SIGTERM)
    try:
        running.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        running.kill()
        raise
    assert running.returncode in (0, -signal.SIGTERM)


def test_a_wrong_flag_is_told_what_was_meant(story: Story) -> None:
    found = story.command("run", "x.yaml", "--bugdet", "5")
    assert found.returncode == 2
    assert "--budget" in found.stderr
