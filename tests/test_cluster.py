"""The examples for clusters: sound by their schemas, and run as a scheduler would."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import botocore.session
import botocore.validate
import kubernetes_validate
import pytest
import yaml
from test_shards import ordered

from conftest import Story

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "manifests" / "cluster"
SHARDS = 4
FINAL = (1, 2, 3, 6, 7, 70)  # exit codes that a repetition does not mend


def kubernetes() -> list[dict[str, Any]]:
    text = (FOLDER / "kubernetes.yaml").read_text(encoding="utf-8")
    return list(yaml.safe_load_all(text))


def pod() -> dict[str, Any]:
    found: dict[str, Any] = kubernetes()[1]["spec"]["template"]["spec"]
    return found


def aws() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "aws-batch.json").read_text("utf-8"))
    return found


def in_kubernetes() -> list[str]:
    (container,) = pod()["containers"]
    words = [*container["command"], *container["args"]]
    return [word.replace("/manifests/", f"{ROOT}/manifests/") for word in words]


def in_slurm() -> list[str]:
    return ["bash", str(FOLDER / "slurm.sh")]


def in_aws() -> list[str]:
    found: list[str] = aws()["containerProperties"]["command"]
    return found


def test_kubernetes_takes_every_document() -> None:
    for document in kubernetes():
        kubernetes_validate.validate(document, "1.37", strict=True)
    job = kubernetes()[1]["spec"]
    assert job["completions"] == job["parallelism"] == SHARDS
    assert job["completionMode"] == "Indexed"
    _, final = job["podFailurePolicy"]["rules"]
    assert tuple(final["onExitCodes"]["values"]) == FINAL
    assert final["onExitCodes"]["containerName"] == pod()["containers"][0]["name"]
    # It would put the value of a variable in the place of such a word.
    assert not re.search(r"\$\([A-Za-z_.-]", json.dumps(in_kubernetes()))


def test_what_was_bought_outlives_a_pod() -> None:
    claim, _ = kubernetes()
    volumes = {one["name"]: one for one in pod()["volumes"]}
    (container,) = pod()["containers"]
    mounts = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
    outputs = {one["name"]: one.get("value") for one in container["env"]}
    place = Path(outputs["BATCHGEN_OUTPUTS"] or "").parent
    volume = volumes[mounts[str(place)]]
    name = volume["persistentVolumeClaim"]["claimName"]
    assert name == claim["metadata"]["name"]


def test_aws_takes_the_job_definition() -> None:
    service = botocore.session.get_session().get_service_model("batch")
    shape = service.operation_model("RegisterJobDefinition").input_shape
    report = botocore.validate.ParamValidator().validate(aws(), shape)
    assert report.generate_report() == ""
    rules = aws()["retryStrategy"]["evaluateOnExit"]
    assert len(rules) <= 5  # the service takes no more
    ends = [str(code) for code in (*FINAL, 4, 5, 8, 129, 130, 137, 143)]
    final = {
        code
        for code in ends
        for rule in rules
        if re.fullmatch(rule["onExitCode"].replace("*", ".*"), code)
    }
    assert final == {str(code) for code in FINAL}


def test_slurm_is_told_what_the_script_says() -> None:
    text = (FOLDER / "slurm.sh").read_text(encoding="utf-8")
    assert f"#SBATCH --array=1-{SHARDS}\n" in text
    assert f"\nshards={SHARDS}\n" in text
    for program, *flags in (("bash", "-n"), ("shellcheck",)):
        found = shutil.which(program)
        if found:
            subprocess.run([found, *flags, FOLDER / "slurm.sh"], check=True)


def path_of(*folders: Path) -> str:
    """Where programs are looked for: there, then where batchgen is installed."""
    own = Path(sys.executable).parent
    return os.pathsep.join([*map(str, folders), str(own), os.environ["PATH"]])


def start(story: Story, words: list[str], **variables: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        words,
        env={**story.env(), "PATH": path_of(), **variables},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(process: "subprocess.Popen[str]") -> tuple[int, str]:
    said, _ = process.communicate(timeout=100)
    return process.returncode, said


def planned(words: list[str]) -> list[str]:
    """The same that spends nothing."""
    return [
        word.replace("batchgen run", "batchgen plan").replace("--budget 70 --yes", "")
        for word in words
    ]


def test_the_first_index_is_the_first_shard_everywhere(
    story: Story, tmp_path: Path
) -> None:
    script = tmp_path / "slurm.sh"
    (text,) = planned([(FOLDER / "slurm.sh").read_text(encoding="utf-8")])
    script.write_text(text.replace("--quiet", ""), encoding="utf-8")
    crew = [
        start(story, planned(in_kubernetes()), JOB_COMPLETION_INDEX="0"),
        start(story, ["bash", str(script)], SLURM_ARRAY_TASK_ID="1"),
        start(story, planned(in_aws()), AWS_BATCH_JOB_ARRAY_INDEX="0"),
    ]
    ends = [end(process) for process in crew]
    assert [code for code, _ in ends] == [0, 0, 0], ends
    for _, said in ends:
        assert said.startswith("spring-launch.shard-1-of-4.sandbox ")
    # And the money of the examples covers every shard.
    whole = 70_000_000
    worst = max(ordered(ROOT / "manifests" / "spring-launch.yaml", f"1/{SHARDS}").loads)
    assert worst <= whole // SHARDS


@pytest.mark.slow
def test_all_of_an_array_is_the_whole_run(story: Story) -> None:
    crew = [
        start(story, in_slurm(), SLURM_ARRAY_TASK_ID="4"),
        start(story, in_kubernetes(), JOB_COMPLETION_INDEX="1"),
        start(story, in_aws(), AWS_BATCH_JOB_ARRAY_INDEX="2"),
        start(story, in_slurm(), SLURM_ARRAY_TASK_ID="1"),
    ]
    ends = [end(process) for process in crew]
    assert [code for code, _ in ends] == [0, 0, 0, 0], ends
    bought = story.till()
    assert len(bought) == 25
    assert sum(charge.price for charge in bought) == 52_080_000


SBATCH = """#!/bin/sh
# As Slurm's: keeps the script, starts it, tells the number of the job.
copy=$(mktemp) && cat "$1" >"$copy"
grep -q '^#SBATCH --export=NONE$' "$copy" || exit 1
setsid env -i PATH="$PATH" TMPDIR="$TMPDIR" bash "$copy" >"$copy.log" 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
for job; do kill -- "-$job"; done
"""


@pytest.mark.slow
def test_workers_from_a_queue_fetch_the_clips(story: Story, tmp_path: Path) -> None:
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    story.environ |= {
        "TMPDIR": str(tmp_path),
        "DASK_JOBQUEUE__SLURM__INTERFACE": "lo",
    }
    manifest = story.manifest([f"queue boat {n}" for n in range(6)])
    words = [sys.executable, str(FOLDER / "dask_slurm.py"), str(manifest)]
    code, said = end(start(story, words, PATH=path_of(tmp_path)))
    assert code == 0, said
    assert len(story.till("queue ")) == 6
    assert len(list((story.folder(manifest) / "videos").glob("*.mp4"))) == 6
