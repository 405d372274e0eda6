"""What changed, in the words of the author."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen import diff
from conftest import Story


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("A red mug", "A blue mug", "A [-red-]{+blue+} mug"),
        ("A red mug", "A mug", "A [-red-] mug"),
        ("A mug", "A red mug", "A {+red+} mug"),
        ("red mug on a sill", "mug on a sill", "[-red-] mug on a sill"),
        ("mug on a sill", "red mug on a sill", "{+red+} mug on a sill"),
        ("A mug", "A mug, steaming", "A mug{+, steaming+}"),
        ("A big red mug", "A small blue mug", "A [-big red-]{+small blue+} mug"),
        ("A mug.", "A mug!", "A mug[-.-]{+!+}"),
        ("赤いマグカップ。", "青いマグカップ。", "[-赤-]{+青+}いマグカップ。"),
        ("Eine Tasse dampft", "Eine Tasse glüht", "Eine Tasse [-dampft-]{+glüht+}"),
        ("", "blurry", "{+blurry+}"),
        ("blurry", "", "[-blurry-]"),
        ("", "", ""),
        (
            "A mug by the window",
            "Two foxes cross a frozen lake",
            "[-A mug by the window-]{+Two foxes cross a frozen lake+}",
        ),
    ],
)
def test_both_texts_stand_in_one(before: str, after: str, expected: str) -> None:
    assert diff.words(before, after) == expected


def without(text: str, kept: str, dropped: str) -> list[str]:
    """The letters of one side, spaces aside."""
    start, end = (re.escape(mark) for mark in dropped.split())
    text = re.sub(f"{start}.*?{end}", "", text, flags=re.DOTALL)
    for mark in kept.split():
        text = text.replace(mark, "")
    return text.split()


PROSE = st.lists(
    st.sampled_from(["a", "red", "blue", "mug", ",", ".", "ग्लास", "赤い", "\n"])
).map(" ".join)


@given(before=PROSE, after=PROSE)
def test_without_its_marks_a_diff_is_either_text(before: str, after: str) -> None:
    found = diff.words(before, after)
    old = "".join(without(found, "[- -]", "{+ +}"))
    new = "".join(without(found, "{+ +}", "[- -]"))
    assert (old, new) == ("".join(before.split()), "".join(after.split()))


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ({"duration": 5}, {"duration": 4}, ["duration 5 -> 4"]),
        ({"duration": 5}, {"duration": 5}, []),
        ({"sound": False}, {"sound": True}, ["sound false -> true"]),
        ({}, {"seed": 7}, ["seed default -> 7"]),
        (
            {"aspect_ratio": "16:9"},
            {"aspect_ratio": "1:1"},
            ["aspect_ratio 16:9 -> 1:1"],
        ),
        (
            {"prompt": "a  fox"},
            {"prompt": "a fox"},
            ["prompt: a fox (only the spaces)"],
        ),
        (
            {"duration": 5, "prompt": "A red fox"},
            {"duration": 4, "prompt": "A grey fox"},
            ["prompt: A [-red-]{+grey+} fox", "duration 5 -> 4"],
        ),
        (
            {"multi_prompt": [{"prompt": "Kettle on", "duration": 4}]},
            {
                "multi_prompt": [
                    {"prompt": "Kettle off", "duration": 5},
                    {"prompt": "Sip"},
                ]
            },
            [
                "scene 1 prompt: Kettle [-on-]{+off+}",
                "scene 1 duration 4 -> 5",
                "scene 2 prompt: {+Sip+}",
            ],
        ),
        (
            {"image": f"sha256:{64 * 'a'}"},
            {"image": f"sha256:{64 * 'b'}"},
            ["image sha256:aaaaaaaa… -> sha256:bbbbbbbb…"],
        ),
        (
            {"prompt": "A fox"},
            {"multi_prompt": [{"prompt": "A fox"}]},
            ["prompt: [-A fox-]", "scene 1 prompt: {+A fox+}"],
        ),
    ],
)
def test_each_changed_field_has_a_line(
    before: dict[str, Any], after: dict[str, Any], lines: list[str]
) -> None:
    assert list(diff.fields(before, after)) == lines


BEFORE = """
settings: { duration: 3 }
prompts:
  - { id: mug, prompt: A red mug on a wooden sill beside a rain-streaked window }
  - { id: kettle, prompt: A kettle }
  - { id: lamp, prompt: A lamp, duration: 4 }
  - { id: kept, prompt: A kept cup }
"""
AFTER = """
settings: { duration: 3 }
prompts:
  - id: mug
    prompt: A blue mug on a wooden sill beside a rain-streaked window, steaming slowly
    duration: 4
    negative_prompt: blurry
    cfg_scale: 0.6
  - { id: teapot, prompt: A kettle }
  - { id: kept, prompt: A kept cup }
  - { id: 新しい, prompt: A spoon }
"""
LISTED = """\
  + 1 new   ~ 1 changed   > 1 renamed   - 1 removed   = 1 done already ($1.26)

  + 新しい                 $1.26
  ~ mug                    $1.68
      prompt: A [-red-]{+blue+} mug on a wooden sill beside a rain-streaked
        window{+, steaming slowly+}
      negative_prompt: {+blurry+}
      duration 3 -> 4
      cfg_scale default -> 0.6
  > kettle -> teapot       $0.00
  - lamp                   $0.00

"""


def test_a_plan_lists_what_an_edit_does_to_each_clip(story: Story) -> None:
    path = story.root / "edited.yaml"
    path.write_text(BEFORE, encoding="utf-8")
    assert story.command("run", str(path), "-q").returncode == 0
    path.write_text(AFTER, encoding="utf-8")
    found = story.command("plan", str(path), "-v")
    assert (found.returncode, found.stderr) == (0, "")
    head, _, rest = found.stdout.partition("\n\n")
    assert head == "edited.sandbox   Kling V3.0 4K   4 clips   continues a run"
    assert rest[: len(LISTED)] == LISTED
    short = story.command("plan", str(path)).stdout
    told = LISTED.partition("\n\n")[2]
    caution = next(line for line in rest.splitlines(keepends=True) if "seed" in line)
    assert short == found.stdout.replace(told, "").replace(caution, "")


def test_a_plan_of_a_new_run_lists_what_it_would_buy(story: Story) -> None:
    path = story.manifest(["fresh boat 0", "fresh boat 1"])
    page = story.command("plan", str(path), "-v").stdout
    assert [line.split()[-1] for line in page.splitlines() if line[2:3] == "+"] == [
        "$1.26",
        "$1.26",
    ]
