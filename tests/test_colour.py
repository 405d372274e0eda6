"""Colour decorates: the words are the same without it."""

import click
import pytest

from batchgen.cli.colour import decided, paint

TEXT = """\
a.yaml:2:9: error: budget must be a number [bad-money]
    2 | budget: 60 USD
      |         ^^^^^^
  fix: budget: 60
note: three
ok    key        found
warn  media      extra not installed
fail  disk       full
  failed     MUG-01   provider: internal error
no error: here, nor a prompt with failed in it
"""


def test_nothing_but_colour_is_added() -> None:
    painted = paint(TEXT)
    assert click.unstyle(painted) == TEXT
    assert painted.count("\x1b[0m") == 8
    assert painted.splitlines()[-1] == TEXT.splitlines()[-1]


@pytest.mark.parametrize(
    ("wanted", "environ", "answer"),
    [
        ("auto", {}, None),
        ("auto", {"NO_COLOR": "1"}, False),
        ("auto", {"NO_COLOR": ""}, None),
        ("auto", {"FORCE_COLOR": "1"}, True),
        ("auto", {"TERM": "dumb"}, False),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ("always", {"NO_COLOR": "1"}, True),
        ("never", {"FORCE_COLOR": "1"}, False),
    ],
)
def test_who_decides(wanted: str, environ: dict[str, str], answer: bool | None) -> None:  # noqa: FBT001 - a table
    assert decided(wanted, environ) is answer
