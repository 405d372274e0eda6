"""The README's recipes for a night are true: verified, and run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_readme import block

from conftest import Story

SYSTEMD = shutil.which("systemd-analyze")


def inner(name: str) -> str:
    """A block without its fences."""
    found = re.fullmatch(r"```\w+\n(.*)```\n", block(name), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.skipif(SYSTEMD is None, reason="systemd-analyze is not installed")
def test_the_units_are_what_systemd_takes(tmp_path: Path) -> None:
    service, timer = "batchgen-nightly.service", "batchgen-nightly.timer"
    program = tmp_path / "ads" / ".venv" / "bin" / "batchgen"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    for name in (service, timer):
        text = inner(f"unit {name}").replace("%h", str(tmp_path))
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = subprocess.run(
        [str(SYSTEMD), "--user", "verify", str(tmp_path / timer)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    mine = [line for line in found.stderr.splitlines() if "batchgen-nightly" in line]
    assert (found.returncode, mine) == (0, []), found.stderr


def test_the_cron_line_runs_and_tells_only_what_matters(
    story: Story, tmp_path: Path
) -> None:
    """The command of the README's crontab, in the empty world of cron."""
    ads = tmp_path / "ads"
    program = ads / ".venv" / "bin" / "batchgen"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m batchgen "$@"\n')
    program.chmod(0o755)
    (ads / "manifests").mkdir()
    text = "budget: 10\nprompts: [a night clip]\nsettings: { duration: 3 }\n"
    (ads / "manifests" / "nightly.yaml").write_text(text, encoding="utf-8")
    command = inner("cron").split("*")[-1].strip()
    environ = {
        "HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
        "WAVESPEED_API_KEY": "night-key",
        "WAVESPEED_BASE_URL": story.api,
    }
    for submitted in (1, 0):
        found = subprocess.run(
            ["/bin/sh", "-c", command],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 0, found.stderr
        words = [line.split()[1] for line in found.stderr.splitlines()]
        assert words == ["start", "end"] * submitted
        assert "\r" not in found.stderr + found.stdout
        assert "\x1b" not in found.stderr + found.stdout
    assert len(story.till("night clip")) == 1


def test_completion_knows_commands_flags_and_runs(story: Story) -> None:
    manifest = story.manifest(["completion clip"], "budget: 10")
    assert story.command("run", str(manifest), "--yes").returncode == 0

    def completed(words: str) -> list[str]:
        found = subprocess.run(
            [sys.executable, "-m", "batchgen"],
            env={
                **story.env(),
                "_BATCHGEN_COMPLETE": "bash_complete",
                "COMP_WORDS": f"batchgen {words}",
                "COMP_CWORD": str(len(words.split(" "))),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return [line.partition(",")[2] for line in found.stdout.splitlines()]

    assert "validate" in completed("val")
    assert "--budget" in completed("run --bud")
    assert completed(f"status {manifest.stem[:9]}") == [f"{manifest.stem}.sandbox"]
