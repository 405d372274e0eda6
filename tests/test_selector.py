"""Choosing tasks: one grammar for every command."""

import pytest

from batchgen.errors import UsageError
from batchgen.selector import selector
from batchgen.tasks import Task

PICKS = "\N{ZERO WIDTH NO-BREAK SPACE}slug,hash,note\nMUG-01_steam,0123abcd,nice\n"


def task(slug: str, ident: str = "f" * 32, **labels: str) -> Task:
    return Task(
        id=ident,
        slug=slug,
        model="m",
        input={},
        take=1,
        price=1,
        seconds=5,
        labels=labels,
        output=f"{slug}.mp4",
    )


MUG = task("MUG-01_steam", "0123abcd" + "0" * 24, locale="de-DE", hook="steam")
TUMBLER = task("TMB-02_unbox", locale="en-US", hook="unbox, slowly")


def chosen(*flags: str, status: str = "done") -> list[str]:
    meant = selector(
        flags, lambda name: {"picks.csv": PICKS, "none.csv": "a\n1\n"}[name]
    )
    return [one.slug for one in (MUG, TUMBLER) if meant(one, status)]


@pytest.mark.parametrize(
    ("flags", "slugs"),
    [
        ((), ["MUG-01_steam", "TMB-02_unbox"]),
        (("MUG-*",), ["MUG-01_steam"]),
        (("0123abcd",), ["MUG-01_steam"]),
        (("id=TMB-02_unbox",), ["TMB-02_unbox"]),
        (("locale=de-DE,hook=steam",), ["MUG-01_steam"]),
        (("locale=de-DE,hook=unbox*",), []),
        (("locale=de-DE", "hook=unbox*"), ["MUG-01_steam", "TMB-02_unbox"]),
        ((r"hook=unbox\, slowly",), ["TMB-02_unbox"]),
        (("status=done",), ["MUG-01_steam", "TMB-02_unbox"]),
        (("status=failed",), []),
        (("@picks.csv",), ["MUG-01_steam"]),
        (("@picks.csv,locale=en-US",), []),
        (("colour=red",), []),
    ],
)
def test_a_selection(flags: tuple[str, ...], slugs: list[str]) -> None:
    assert chosen(*flags) == slugs


@pytest.mark.parametrize("flag", ["", "=x", "locale=", "a,,b", "@none.csv"])
def test_a_selection_that_cannot_be_read(flag: str) -> None:
    with pytest.raises(UsageError) as caught:
        chosen(flag)
    assert caught.value.rule == "bad-select"
