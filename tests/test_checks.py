"""Before money is spent: the price is asked, and whose key it is."""

from pathlib import Path

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


def test_a_price_that_cannot_be_read_only_warns(tmp_path: Path) -> None:
    plan = tmp_path / "faults.yaml"
    rule = "{fault: price_404, probability: 1}"
    plan.write_text(f"rules: [{rule}]\n", encoding="utf-8")
    with sandboxed(tmp_path, "--faults", str(plan)) as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        found = story.command("run", str(story.manifest(["mute boat 0"])))
        assert found.returncode == 0, found.stderr
        assert "price cannot be read" in found.stderr


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
