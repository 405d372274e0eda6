"""Before money is spent: the price is asked, and whose key it is."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from conftest import Story, sandboxed


def test_another_price_stops_the_run_with_both_numbers(tmp_path: Path) -> None:
    plan = tmp_path / "faults.yaml"
    rule = "{fault: price_more, probability: 1}"
    plan.write_text(f"rules: [{rule}]\n", encoding="utf-8")
    with sandboxed(tmp_path, "--faults", str(plan)) as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        manifest = story.manifest(["dear boat 0"])
        found = story.command("run", str(manifest))
        assert (found.returncode, story.till()) == (2, []), found.stderr
        for word in ("$1.89", "$1.26", "[price-changed]"):
            assert word in found.stderr
        # Who has written a price has decided.
        own = story.manifest(["owned boat 0"], "price: {per_second: 0.42}")
        assert story.command("run", str(own)).returncode == 0
        assert len(story.till("owned ")) == 1


def test_a_written_price_makes_the_difference_a_note(tmp_path: Path) -> None:
    with drifted(tmp_path, "price_more") as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        own = story.manifest(["noted boat 0"], "price: {per_second: 0.42}")
        found = story.command("run", str(own))
    assert found.returncode == 0, found.stderr
    said = "asks $1.89 for noted-boat-0~831495fe, the manifest's price makes it $1.26"
    assert said in found.stderr


def test_a_price_that_cannot_be_read_only_warns(tmp_path: Path) -> None:
    plan = tmp_path / "faults.yaml"
    rule = "{fault: price_404, probability: 1}"
    plan.write_text(f"rules: [{rule}]\n", encoding="utf-8")
    with sandboxed(tmp_path, "--faults", str(plan)) as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        found = story.command("run", str(story.manifest(["mute boat 0"])))
        assert found.returncode == 0, found.stderr
        assert "price cannot be read" in found.stderr


def drifted(folder: Path, *faults: str) -> Any:
    """A sandbox where these faults never end."""
    plan = folder / "faults.yaml"
    rules = ", ".join(f"{{fault: {fault}, probability: 1}}" for fault in faults)
    plan.write_text(f"rules: [{rules}]\n", encoding="utf-8")
    return sandboxed(folder, "--faults", str(plan))


def test_a_used_field_that_the_live_schema_lacks_stops_before_paying(
    tmp_path: Path,
) -> None:
    with drifted(tmp_path, "models_lacks") as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        manifest = story.manifest(["gone boat 0", "gone boat 1"])
        text = manifest.read_text("utf-8").replace("3}", "3, negative_prompt: fog}")
        used = manifest.with_name("used.yaml")
        used.write_text(text.replace("run-gone", "used"), encoding="utf-8")
        found = story.command("run", str(used))
        assert (found.returncode, story.till()) == (2, []), found.stderr
        assert "has no field negative_prompt: the service would drop" in found.stderr
        assert "[absent-field]" in found.stderr
        assert "Nothing was submitted" in found.stderr
        # Who does not use the field is not stopped.
        assert story.command("run", str(manifest)).returncode == 0
        assert len(story.till("gone ")) == 2


def test_a_choice_goes_out_as_the_live_schema_spells_it(tmp_path: Path) -> None:
    with drifted(tmp_path, "models_drift", "submit_drift") as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        manifest = story.manifest(["cut boat 0"])
        text = manifest.read_text("utf-8").replace("3}", "3, shot_type: intelligent}")
        manifest.write_text(text, encoding="utf-8")
        found = story.command("run", str(manifest))
        assert found.returncode == 0, found.stderr
        uri = f"file:{story.data / 'sandbox.db'}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            (row,) = connection.execute("SELECT input FROM predictions").fetchall()
        assert json.loads(row[0])["shot_type"] == "intelligence"
        # The identity and the journal keep the catalog's spelling.
        _, tally = story.replay(manifest)
        (task,) = story.tasks(manifest)
        planned = tally.states[task.id].planned
        assert planned is not None
        assert planned.input["shot_type"] == "intelligent"


def test_a_model_that_is_not_listed_stops_and_an_own_price_overrules(
    tmp_path: Path,
) -> None:
    with drifted(tmp_path, "models_missing") as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        manifest = story.manifest(["lone boat 0"])
        found = story.command("run", str(manifest))
        assert (found.returncode, story.till()) == (2, []), found.stderr
        assert "[model-gone]" in found.stderr
        own = story.manifest(["mine boat 0"], "price: {per_second: 0.42}")
        found = story.command("run", str(own))
        assert found.returncode == 0, found.stderr
        assert "does not have kwaivgi/kling-v3.0-4k/text-to-video" in found.stderr


@pytest.mark.slow
def test_silent_endpoints_warn_and_never_block_and_doctor_says_the_same(
    tmp_path: Path,
) -> None:
    with drifted(tmp_path, "models_500", "price_404") as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        found = story.command("run", str(story.manifest(["hush boat 0"])))
        assert found.returncode == 0, found.stderr
        assert "the list of models cannot be read" in found.stderr
        told = story.command("doctor").stdout
        assert "warn  models     the list cannot be read" in told
        assert "warn  price      no quote: " in told


def test_doctor_compares_list_and_price_with_the_catalog(tmp_path: Path) -> None:
    with drifted(tmp_path, "models_lacks", "price_more") as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        found = story.command("doctor")
    assert found.returncode == 0
    assert "warn  models     17 listed; changed: " in found.stdout
    said = "$3.15 for kling-4k of 5 s (model/price), the catalog says $2.10"
    assert said in found.stdout


@pytest.mark.slow
def test_another_key_is_told_and_another_account_refused(
    story: Story, tmp_path: Path
) -> None:
    manifest = story.manifest(["keys boat 0"])
    assert story.command("run", str(manifest)).returncode == 0
    more = story.manifest(["keys boat 0", "keys boat 1"])
    story.environ["WAVESPEED_API_KEY"] = "another-key"
    found = story.command("run", str(more))
    assert found.returncode == 0, found.stderr
    assert "the key has changed" in found.stderr
    # Another sandbox knows nothing of this run: another account.
    last = story.manifest(["keys boat 0", "keys boat 1", "keys boat 2"])
    story.environ["WAVESPEED_API_KEY"] = "third-key"
    with sandboxed(tmp_path) as addresses:
        story.environ["WAVESPEED_BASE_URL"] = addresses.api
        found = story.command("run", str(last))
    assert (found.returncode, "[other-account]" in found.stderr) == (7, True)
    assert len(story.till("keys ")) == 2
