"""The README says what the program does: its help, its machine, its commands."""

import re
from pathlib import Path

from click.testing import CliRunner

from batchgen.cli import batchgen
from batchgen.state import TRANSITIONS, Status

README = Path(__file__).parent.parent / "README.md"


def block(name: str) -> str:
    """What stands between a marker and its end."""
    text = README.read_text(encoding="utf-8")
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert found is not None
    return found[1]


def diagram() -> str:
    """The state machine as a picture, drawn from the table."""
    moves: dict[tuple[Status, Status], list[str]] = {}
    for (before, kind), after in TRANSITIONS.items():
        if before is not after:
            moves.setdefault((before, after), []).append(kind.__name__)
    arrows = [
        f"    {before} --> {after}: {', '.join(names)}"
        for (before, after), names in moves.items()
    ]
    return "\n".join(["```mermaid", "stateDiagram-v2", *arrows, "```", ""])


def help_text() -> str:
    """What `batchgen --help` prints at 80 columns."""
    result = CliRunner().invoke(
        batchgen, ["--help"], prog_name="batchgen", terminal_width=80
    )
    return f"```text\n$ batchgen --help\n{result.output}```\n"


def test_the_machine_in_the_readme_is_the_table() -> None:
    assert block("state machine") == diagram()


def test_the_help_in_the_readme_is_what_the_program_prints() -> None:
    assert block("help") == help_text()


def test_both_commands_of_the_readme_stand_alone() -> None:
    for name in ("run command", "test command"):
        lines = block(name).splitlines()
        assert lines[0] == "```sh"
        assert lines[1].startswith("python3 -m venv .venv && .venv/bin/pip install ")
        assert lines[2:] == ["```"]
