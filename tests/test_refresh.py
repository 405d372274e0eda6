"""The account's own list: shown, kept, and used for prices and checks alone."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from batchgen import refreshed
from batchgen.models import Catalog, Price, catalog, published
from batchgen.models.live import Live, changes, faults, listing, respelled
from batchgen.money import usd
from batchgen.refreshed import Entry, Refreshed, fitted
from conftest import Story, sandboxed

ID = "kwaivgi/kling-v3.0-4k/text-to-video"
OTHER = "vendor/film-2/text-to-video"
URL = "https://api.example"
FILM = Live(
    OTHER,
    "Film 2",
    "text-to-video",
    {
        "type": "object",
        "properties": {
            "prompt": {"type": "string"},
            "length": {"type": "integer", "enum": [4, 8]},
            "style": {"type": "string", "enum": ["Noir", "Pop"]},
        },
        "required": ["prompt"],
    },
)


@contextmanager
def drifted(folder: Path, *faults: str) -> Iterator[Story]:
    """A sandbox whose models changed, and a config folder of its own."""
    plan = folder / "faults.yaml"
    rules = ", ".join(f"{{fault: {fault}, probability: 1}}" for fault in faults)
    plan.write_text(f"rules: [{rules}]\n", encoding="utf-8")
    with sandboxed(folder, "--faults", str(plan)) as addresses:
        story = Story(folder, addresses.api, folder / "sandbox")
        story.environ["XDG_CONFIG_HOME"] = str(folder / "config")
        yield story


@pytest.mark.slow
def test_a_drifted_list_is_shown_before_it_is_kept_and_then_prices(
    tmp_path: Path,
) -> None:
    with drifted(tmp_path, "models_drift", "models_lacks", "price_more") as story:
        manifest = story.manifest(["new price boat 0"])
        plan = json.loads(story.command("plan", str(manifest), "--json").stdout)
        shown = story.command("models", "--refresh")
        assert shown.returncode == 2
        assert "[no-terminal]" in shown.stderr
        for part in (
            "~ shot_type enum: customize, intelligent -> customize, intelligence",
            "- negative_prompt is gone: sent, it would be dropped and charged",
            "~ price $0.42 a second -> $0.63 a second",
            "~ price $0.01 each -> $0.015 each",
            "17 models listed: 17 changed, 0 new here",
        ):
            assert part in shown.stdout
        assert not (tmp_path / "config").exists()
        kept = story.command("models", "--refresh", "--yes", "--json")
        document = json.loads(kept.stdout)
        assert (document["kept"], len(document["changed"])) == (True, 17)
        assert "$0.63 a second" in story.command("models", "kling-4k").stdout
        # The plan has the account's price and the identity of before.
        again = json.loads(story.command("plan", str(manifest), "--json").stdout)
        assert (plan["cost_usd"], again["cost_usd"]) == (1.26, 1.89)
        tasks = story.command("plan", str(manifest), "--tasks").stdout
        assert story.tasks(manifest)[0].id[:8] in json.loads(tasks)["id"]
        # What the live schema lacks stops the plan already.
        text = manifest.read_text("utf-8").replace("3}", "3, negative_prompt: fog}")
        used = manifest.with_name("used.yaml")
        used.write_text(text, encoding="utf-8")
        stopped = story.command("plan", str(used))
        assert stopped.returncode == 2
        assert "has no field negative_prompt" in stopped.stderr
        assert "[live-schema]" in stopped.stderr
        # The embedded sandbox is another service.
        calm = story.command("plan", str(used), "--sandbox", "--json")
        assert json.loads(calm.stdout)["cost_usd"] == 1.26
        # Asked again, the list has nothing new.
        last = story.command("models", "--refresh", "--yes")
        assert last.stdout == "17 models listed: 0 changed, 0 new here\n"


def test_a_broken_file_is_a_warning_with_its_name(story: Story, tmp_path: Path) -> None:
    story.environ["XDG_CONFIG_HOME"] = str(tmp_path)
    folder = refreshed.place(tmp_path / "batchgen/models", story.api)
    folder.mkdir(parents=True)
    broken = folder / refreshed.file_name(ID)
    manifest = story.manifest(["broken boat 0"])
    for text in ("{", "[]", '{"base_url": 1}', f'{{"base_url": "{story.api}"}}'):
        broken.write_text(text, encoding="utf-8")
        found = story.command("plan", str(manifest), "--json")
        assert json.loads(found.stdout)["cost_usd"] == 1.26
        if "base_url" not in text or story.api in text:
            assert f"warning: {broken} is not used" in found.stderr


def known(folder: Path, *entries: Entry, url: str = URL) -> Refreshed:
    for entry in entries:
        path = folder / refreshed.file_name(entry.live.id)
        path.write_text(refreshed.text_of(entry, url), encoding="utf-8")
    return Refreshed(catalog(), folder, URL, pytest.fail)


def test_another_model_of_the_vendor_is_checked_by_its_live_schema(
    tmp_path: Path,
) -> None:
    found = known(tmp_path, Entry(FILM, "2026-11-22", Price(per_task=5)))[OTHER]

    def says(**fields: Any) -> list[str]:
        return [one.message for one in found.mistakes(fields, live=True)]

    assert says(prompt="a", length=4, style="Noir") == []
    assert "has no style Soap (it has Noir, Pop)" in says(prompt="a", style="Soap")[0]
    assert "has no field sound: the service" in says(prompt="a", sound=True)[0]
    assert "needs the field prompt" in says(length=4)[0]
    # No spelling of the list reaches the identity.
    free = known(tmp_path, Entry(FILM, "2026-11-22"))[OTHER]
    assert found.identity({"prompt": "a", "style": "noir"}) == free.identity(
        {"prompt": "a", "style": "noir"}
    )
    assert found.request({"prompt": "a"}) == {"prompt": "a"}


def test_the_list_of_another_address_is_not_used(tmp_path: Path) -> None:
    entry = Entry(FILM, "2026-11-22", Price(per_task=5))
    assert known(tmp_path, entry, url="http://127.0.0.1:1").find(OTHER) is None


def test_a_model_without_a_quote_needs_a_price(tmp_path: Path, story: Story) -> None:
    story.environ["XDG_CONFIG_HOME"] = str(tmp_path)
    folder = refreshed.place(tmp_path / "batchgen/models", story.api)
    folder.mkdir(parents=True)
    text = refreshed.text_of(Entry(FILM, "2026-11-22"), story.api)
    (folder / refreshed.file_name(OTHER)).write_text(text, encoding="utf-8")
    path = tmp_path / "film.yaml"
    head = f"name: film\nmodel: {OTHER}\nprompts: [a boat]\n"
    path.write_text(head, encoding="utf-8")
    found = story.command("plan", str(path))
    assert (found.returncode, "[no-price]" in found.stderr) == (2, True)
    path.write_text(head + "price: {per_task: 0.3}\n", encoding="utf-8")
    found = story.command("plan", str(path), "--json")
    assert json.loads(found.stdout)["cost_usd"] == 0.3, found.stderr


def test_identities_are_those_of_the_shipped_catalog(tmp_path: Path) -> None:
    shipped: Catalog = catalog()
    live = [
        Live(model.id, model.title, model.kind, published(model.schema))
        for model in shipped
    ]
    mine = known(
        tmp_path, *(Entry(one, "2026-11-22", Price(per_task=1)) for one in live)
    )
    for model in shipped:
        other = mine[model.alias]
        assert other.price == Price(per_task=1)
        for example in model.examples:
            fields = example["input"]
            assert other.identity(fields) == model.identity(fields)
            assert other.request(fields) == model.request(fields)
            assert list(other.mistakes(fields, live=True)) == list(
                model.mistakes(fields, live=True)
            )


def test_quotes_make_a_rule_or_none() -> None:
    assert fitted({(0, False): 10}) == Price(per_task=10)
    assert fitted({(5, False): 50, (10, False): 100}) == Price(per_second=10)
    loud = {(5, True): 75, (10, True): 150}
    both = fitted({(5, False): 50, (10, False): 100, **loud})
    assert both == Price(per_second=10, per_second_with_sound=15)
    assert fitted({(5, False): 50, (10, False): 90}) is None
    assert fitted({(5, False): usd("0.000001"), (10, False): 2}) is None


def test_a_list_that_cannot_be_read() -> None:
    odd: list[Any] = [{}, None, [1], [{"model_id": "a"}], [{"api_schema": {}}]]
    for rows in odd:
        with pytest.raises(ValueError, match="list of models"):
            listing(rows)
    assert listing([]) == {}


def test_what_a_live_schema_has_against_a_request() -> None:
    schema = {"properties": {"n": {"minimum": 1, "maximum": 3}, "w": {"enum": ["b"]}}}
    assert dict(faults({"n": 2, "w": "b"}, schema)) == {}
    assert set(dict(faults({"n": 4, "w": "c", "x": None}, schema))) == {"n", "w", "x"}
    # A bool is no 1, and no range holds it.
    assert dict(faults({"n": True, "w": "b"}, {**schema, "required": ["q"]})) == {
        "q": "needs the field q"
    }
    assert respelled({"shot_type": "intelligent", "z": 1}, {
        "properties": {"shot_type": {"enum": ["intelligence"]}}
    }) == {"shot_type": "intelligence", "z": 1}  # fmt: skip


def test_changes_are_told_field_by_field() -> None:
    before = {"properties": {"a": {"enum": [1, 2]}, "b": {}}, "required": ["a"]}
    after = {"properties": {"a": {"enum": [1, 3]}, "c": {"type": "string"}}}
    assert list(changes(before, before)) == []
    assert list(changes(before, after)) == [
        "~ a enum: 1, 2 -> 1, 3",
        "- b is gone: sent, it would be dropped and charged",
        "+ c (type string) is new: write it under `extra`",
        "~ a is not needed any more",
    ]
