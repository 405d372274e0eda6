"""Both prices before anything is bought, and the way from a rehearsal to the final."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.cli import call
from batchgen.models import catalog
from batchgen.money import usd
from batchgen.shapes import Lots, Rehearsal, count, distinct, rehearsal
from batchgen.task import Task
from conftest import Story

MODELS = catalog()
CAMPAIGN = Path(__file__).parent.parent / "manifests" / "spring-launch.yaml"


def lots(alias: str, *requests: dict[str, Any]) -> Lots:
    model = MODELS[alias]
    found: Lots = {}
    for fields in requests:
        body = model.request(fields)
        price = model.price.of({**model.identity_defaults, **body})
        task = Task("f" * 32, "a", model.id, body, 1, price, 5, {}, "a.mp4")
        count(found, task)
    return found


def test_the_campaign_shows_both_prices_and_how_to_pay_the_smaller_one(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BATCHGEN_OUTPUTS", str(tmp_path))
    assert call(["plan", str(CAMPAIGN), "-v"]) == 0
    text = capsys.readouterr().out
    assert "\n  rehearse $14.28 (--model kling-std), final $52.08\n" in text
    assert "a final clip will not equal the rehearsed one" in text
    both = {"model": "kling-std", "cost_usd": 14.28, "final_usd": 52.08}
    assert call(["plan", str(CAMPAIGN), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rehearsal"] == both
    rehearse = ["plan", str(CAMPAIGN), "--model", "kling-std"]
    assert call([*rehearse, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rehearsal"] == both
    assert call(rehearse) == 0
    text = capsys.readouterr().out
    assert "  rehearse $14.28, final $52.08 (without --model)\n" in text
    # Who copies this line buys the rehearsal, and not the final.
    assert text.endswith(f"start with: batchgen run {CAMPAIGN} --model kling-std\n")


def test_the_next_sibling_where_a_field_does_not_exist_in_the_first() -> None:
    element = {"element_list": ["1"], "prompt": "@A swims"}
    plain = {"prompt": "a boat"}
    assert rehearsal(lots("kling-o3-4k", plain), MODELS) == Rehearsal(
        "kling-o3-std", usd("0.42")
    )
    assert rehearsal(lots("kling-o3-4k", plain, element), MODELS) == Rehearsal(
        "kling-o3-pro", usd("1.12")
    )


def test_no_line_where_nothing_is_cheaper() -> None:
    assert rehearsal(lots("kling-std", {"prompt": "a boat"}), MODELS) is None
    assert rehearsal({}, MODELS) is None


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "prompt": st.sampled_from(["a boat", "a cat"]),
                "duration": st.integers(3, 15),
                "sound": st.booleans(),
                "aspect_ratio": st.sampled_from(["16:9", "1:1"]),
            }
        ),
        max_size=8,
    )
)
def test_the_sum_over_shapes_is_the_sum_over_tasks(
    requests: list[dict[str, Any]],
) -> None:
    found = lots("kling-4k", *requests)
    std = MODELS["kling-std"]
    cost = sum(std.price.of({**std.identity_defaults, **one}) for one in requests)
    assert sum(lot.count for lot in found.values()) == len(requests)
    assert rehearsal(found, MODELS) == (Rehearsal("kling-std", cost) if cost else None)


def test_one_question_for_each_model_length_and_sound() -> None:
    wishes = (
        {"prompt": f"p {n}", "duration": 3 + n % 2, "cfg_scale": n / 400}
        for n in range(400)
    )
    both = [{**one, "sound": sound} for one in wishes for sound in (True, False)]
    found = lots("kling-std", *both)
    assert len(found) == 800
    asked = [lot.first.input for _, lot in distinct(found, 24)]
    assert [(one["duration"], one["sound"]) for one in asked] == [
        (3, True), (3, False), (4, True), (4, False),
    ]  # fmt: skip
    assert len(distinct(found, 3)) == 3


@pytest.mark.slow
def test_picks_of_a_rehearsal_are_bought_as_finals_by_name(story: Story) -> None:
    manifest = story.manifest([f"picked boat {n}" for n in range(4)])
    text = manifest.read_text("utf-8")
    rows = "".join(f"  - {{id: p{n}, prompt: picked boat {n}}}\n" for n in range(4))
    manifest.write_text(text[: text.index("prompts:")] + f"prompts:\n{rows}", "utf-8")
    assert story.command("run", str(manifest), "--model", "kling-std").returncode == 0
    run = f"{manifest.stem}.kling-std"
    document = json.loads(story.command("status", run, "--json").stdout)
    hashes = {task["slug"]: task["hash"] for task in document["tasks"]}
    picks = story.root / "picks.csv"
    lines = [f"{slug},{hashes[slug]},nice" for slug in ("p1", "p3")]
    picks.write_text("\n".join(["slug,hash,note", *lines, ""]), encoding="utf-8")
    # In the rehearsal itself the hashes are known, and nothing is said.
    again = ("plan", str(manifest), "--model", "kling-std", "-s", f"@{picks}")
    assert "[other-hashes]" not in story.command(*again).stderr
    found = story.command("run", str(manifest), "--select", f"@{picks}")
    assert found.returncode == 0, found.stderr
    said = " ".join(found.stderr.split())
    assert "so 2 tasks were chosen by name" in said
    assert "[other-hashes]" in said
    charged = [(row.prompt[-1], row.price) for row in story.till("picked ")]
    std, final = usd("0.252"), usd("1.26")
    assert sorted(charged, key=lambda one: (one[1], one[0])) == [
        *((str(n), std) for n in range(4)),
        ("1", final),
        ("3", final),
    ]


def test_a_sheet_with_one_known_hash_is_never_read_by_name(story: Story) -> None:
    manifest = story.manifest(["exact boat 0", "exact boat 1"])
    one, two = story.tasks(manifest)
    picks = story.root / "known.csv"
    text = f"slug,hash\n{one.slug},{one.id}\n{two.slug},{'0' * 8}\n"
    picks.write_text(text, encoding="utf-8")
    found = story.command("plan", str(manifest), "-s", f"@{picks}", "--json")
    assert json.loads(found.stdout)["counts"]["to_buy"] == 1
