"""The README says what the program does: its help, its machine, its commands."""

import re
from pathlib import Path

from click.testing import CliRunner

from batchgen.cli import batchgen
from batchgen.state import TRANSITIONS, Status

README = Path(__file__).parent.parent / "README.md"
HELP = README.parent / "batchgen" / "help.txt"


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


def printed(*words: str) -> str:
    """What the command line prints at 80 columns."""
    result = CliRunner().invoke(
        batchgen, words, prog_name="batchgen", terminal_width=80
    )
    return result.output


def help_text(*command: str) -> str:
    """The help of a command, as it stands in the README."""
    words = (*command, "--help")
    return f"```text\n$ batchgen {' '.join(words)}\n{printed(*words)}```\n"


def every_help() -> str:
    """The help of each command, folded up."""
    folds = (
        f"<details><summary><code>batchgen {name}</code></summary>\n\n"
        f"{help_text(name)}\n</details>\n"
        for name in sorted(batchgen.commands)
    )
    return "".join(folds)


def test_the_machine_in_the_readme_is_the_table() -> None:
    assert block("state machine") == diagram()


def test_the_help_that_is_written_down_is_what_the_program_prints() -> None:
    assert HELP.read_text(encoding="utf-8") == printed("--help") == printed("-h")


def test_the_help_in_the_readme_is_what_the_program_prints() -> None:
    assert block("help") == help_text()


def test_so_is_the_help_of_every_command_and_it_fits_a_screen() -> None:
    assert block("every help") == every_help()
    for name in batchgen.commands:
        assert len(help_text(name).splitlines()) <= 40, name


def test_both_commands_of_the_readme_stand_alone() -> None:
    for name in ("run command", "test command"):
        lines = block(name).splitlines()
        assert lines[0] == "```sh"
        assert lines[1].startswith("python3 -m venv .venv && .venv/bin/pip install ")
        assert lines[2:] == ["```"]


def rewrite() -> None:
    """Write into the README what the program says now; run this file for it."""
    text = README.read_text(encoding="utf-8")
    fresh = {
        "state machine": diagram(),
        "help": help_text(),
        "every help": every_help(),
    }
    for name, inside in fresh.items():
        old = f"<!-- {name} -->\n{block(name)}"
        text = text.replace(old, f"<!-- {name} -->\n{inside}")
    README.write_text(text, encoding="utf-8")
    HELP.write_text(printed("--help"), encoding="utf-8")


if __name__ == "__main__":
    rewrite()
