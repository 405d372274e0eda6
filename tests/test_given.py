"""What stands for the keys of a manifest that has none says the same as those."""

import subprocess
import sys
from pathlib import Path

import pytest

from batchgen.given import Output, Unwritten
from batchgen.keys import OutputKeys, Written

PLAN = """
import sys
from batchgen.cli import call
call(["plan", sys.argv[1]])
print([name for name in sys.modules if name.split(".")[0] == sys.argv[2]])
"""


def test_nothing_written_is_what_keys_are_by_default() -> None:
    ours, theirs = Unwritten(), Written()
    for name in Written.model_fields:
        mine = getattr(ours, name)
        plain = [*mine] if isinstance(mine, tuple) else mine
        assert plain == getattr(theirs, name), name


def test_an_output_is_what_its_keys_are_by_default() -> None:
    assert all(
        getattr(Output(), name) == getattr(OutputKeys(), name)
        for name in OutputKeys.model_fields
    )


@pytest.mark.parametrize("slow", ["pydantic", "httpx", "jinja2", "yaml"])
def test_the_plan_of_a_sheet_does_without_what_is_slow_to_load(
    slow: str, tmp_path: Path
) -> None:
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("id,prompt\na,A boat\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", PLAN, str(sheet), slow],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr
