"""The catalog, and what a model says of a request."""

import json
from hashlib import sha256
from typing import Any

import goldens
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from batchgen import models
from batchgen.errors import CatalogError
from batchgen.models import Catalog, Model, canonical, checks
from batchgen.models.checks import RULES
from batchgen.money import plain, usd

KLING = models.catalog()[models.DEFAULT_MODEL]


def said(fields: dict[str, Any], *, live: bool = True) -> list[tuple[str, str, str]]:
    found = KLING.mistakes(fields, live=live)
    return [(mistake.rule, mistake.message, mistake.label) for mistake in found]


def rules(fields: dict[str, Any], *, live: bool = True) -> list[str]:
    return [rule for rule, _, __ in said(fields, live=live)]


@pytest.mark.parametrize("model", list(models.catalog()), ids=lambda model: model.id)
def test_every_example_of_the_catalog_is_sound_and_costs_what_it_says(
    model: Model,
) -> None:
    assert model.examples
    for example in model.examples:
        fields = example["input"]
        assert list(model.mistakes(fields, live=True)) == []
        whole = {**model.identity_defaults, **model.canonical(fields)}
        assert model.price.of(whole) == usd(example["price"])


@pytest.mark.parametrize("model", list(models.catalog()), ids=lambda model: model.id)
def test_every_field_has_a_frozen_default_or_is_required(model: Model) -> None:
    frozen = {*model.identity_defaults, *model.schema["required"]}
    assert {*model.fields} <= frozen
    assert {*model.send} <= {*model.identity_defaults}
    assert {*model.rules} <= {*RULES, "absent-field"}


FAMILY = {
    # alias: price of 5 s, with sound, pixels of the short side; reference section 9.5
    "kling-4k": ("2.10", "2.10", 2160),
    "kling-4k-i2v": ("2.10", "2.10", 2160),
    "kling-o3-4k": ("2.10", "2.10", 2160),
    "kling-o3-4k-i2v": ("2.10", "2.10", 2160),
    "kling-o3-4k-ref": ("2.10", "2.10", 2160),
    "kling-pro": ("0.56", "0.84", 1080),
    "kling-pro-i2v": ("0.56", "0.84", 1080),
    "kling-std": ("0.42", "0.63", 720),
    "kling-std-i2v": ("0.42", "0.63", 720),
    "kling-o3-pro": ("0.56", "0.70", 1080),
    "kling-o3-pro-i2v": ("0.56", "0.70", 1080),
    "kling-o3-pro-ref": ("0.56", "0.70", 1080),
    "kling-o3-std": ("0.42", "0.56", 720),
    "kling-o3-std-i2v": ("0.42", "0.56", 720),
    "kling-o3-std-ref": ("0.42", "0.56", 720),
    "kling-elements": ("0.01", "0.01", 0),
    "kling-elements-advanced": ("0.01", "0.01", 0),
}


def test_the_family_is_whole_and_costs_what_the_vendor_says() -> None:
    five = {"duration": 5}
    assert {
        model.alias: (
            plain(model.price.of(five)),
            plain(model.price.of(five | {"sound": True})),
            model.resolution,
        )
        for model in models.catalog()
    } == FAMILY
    assert len({model.id for model in models.catalog()}) == len(FAMILY)


def test_no_default_that_identities_rest_on_ever_changes() -> None:
    """If this fails, clips that were paid for would be bought again: only add."""
    golden = json.loads((goldens.FOLDER / "identity_defaults.json").read_text())
    for name, frozen in golden.items():
        found = models.catalog()[name].identity_defaults
        assert {key: found.get(key) for key in frozen} == frozen
    assert {*golden} == {model.id for model in models.catalog()}


@pytest.mark.parametrize("model", list(models.catalog()), ids=lambda model: model.id)
def test_every_edition_is_understood(model: Model) -> None:
    for edition in model.editions:
        for name, schema in edition.properties.items():
            if name in model.absent:
                found = model.mistakes({"prompt": "a", name: ["1"]}, live=True)
                assert [mistake.rule for mistake in found] == ["absent-field"]
            for choice in schema.get("enum", ()):
                (chosen,) = model.canonical({name: choice}).values() or [choice]
                assert chosen in model.schema["properties"][name]["enum"]


@pytest.mark.parametrize(
    ("alias", "fields", "rule", "message"),
    [
        ("kling-4k", {"image": "a.jpg"}, "unknown-key", "Kling V3.0 4K takes no image"),
        (
            "kling-o3-4k",
            {"cfg_scale": 0.6},
            "unknown-key",
            "Kling O3 4K takes no cfg_scale",
        ),
        (
            "kling-o3-std-ref",
            {"negative_prompt": "rain"},
            "unknown-key",
            "Kling O3 Standard reference-to-video takes no negative_prompt",
        ),
        (
            "kling-o3-std",
            {"element_list": ["1"]},
            "unknown-key",
            "Kling O3 Standard takes no element_list",
        ),
        (
            "kling-4k-i2v",
            {"image": "a.jpg", "aspect_ratio": "1:1"},
            "unknown-key",
            "Kling V3.0 4K image-to-video takes no aspect_ratio",
        ),
        (
            "kling-pro-i2v",
            {},
            "missing-key",
            "Kling V3.0 Pro image-to-video needs `image`",
        ),
        (
            "kling-o3-4k",
            {"element_list": ["1", "2", "3", "4"]},
            "too-many-items",
            "element_list has 4 entries, but 3 is the limit",
        ),
        (
            "kling-o3-4k-ref",
            {"images": ["a"] * 8},
            "too-many-items",
            "images has 8 entries, but 7 is the limit",
        ),
    ],
)
def test_fields_are_taken_only_where_the_model_has_them(
    alias: str, fields: dict[str, Any], rule: str, message: str
) -> None:
    found = models.catalog()[alias].mistakes({"prompt": "A fox"} | fields, live=True)
    assert [(one.rule, one.message) for one in found] == [(rule, message)]


@pytest.mark.parametrize("model", list(models.catalog()), ids=lambda model: model.id)
def test_the_published_schema_takes_every_example(model: Model) -> None:
    schema = models.published(model.schema)
    check = Draft202012Validator(schema)
    for example in model.examples:
        check.validate(model.request(example["input"]))
    assert not check.is_valid({"seed": 1})
    assert "x-media" not in json.dumps(schema)  # a word of our own
    assert schema["x-order-properties"] == [*model.schema["properties"]]
    assert ("required" in schema) == bool(model.schema["required"])


def test_the_published_schema_has_the_vendors_shape() -> None:
    fields = models.published(KLING.schema)["properties"]
    assert fields["duration"]["enum"] == [*range(3, 16)]
    assert "maxLength" not in fields["prompt"]
    scene = fields["multi_prompt"]
    assert (scene["maxItems"], scene["items"]["x-order-properties"]) == (
        6,
        ["prompt", "duration"],
    )


def test_a_last_frame_and_scenes_do_not_go_together() -> None:
    fields = {"image": "a.jpg", "end_image": "b.jpg", "multi_prompt": ["a", "b"]}
    (found,) = models.catalog()["kling-4k-i2v"].mistakes(fields, live=True)
    assert found.rule == "not-together"
    assert list(models.catalog()["kling-o3-4k-i2v"].mistakes(fields, live=True)) == []


@pytest.mark.parametrize(
    "prompt",
    ["The mug steams", "<<<element_1>>> steams", "Element 1 steams on a sill"],
)
def test_an_element_is_named_in_any_of_three_ways(prompt: str) -> None:
    fields = {"prompt": prompt, "element_list": ["Mug"]}
    assert list(models.catalog()["kling-o3-4k"].mistakes(fields, live=True)) == []


def test_an_entry_extends_another_and_refers_to_shared_fields() -> None:
    entry = {
        "extends": "kling-v3.0-4k-text-to-video.json",
        "alias": "short",
        "schema": {
            "properties": {
                "duration": {"$ref": "shared/fields.json#/duration", "maximum": 10}
            }
        },
    }
    model = models.read(json.dumps(entry), "x.json")
    assert (model.alias, model.price) == ("short", KLING.price)
    assert model.schema["properties"] == {
        "duration": {**KLING.schema["properties"]["duration"], "maximum": 10}
    }


def test_models_are_found_by_id_and_alias() -> None:
    catalog = Catalog({KLING.id: KLING})
    assert catalog[KLING.alias] is catalog[KLING.id]
    assert catalog.find("nothing") is None
    with pytest.raises(CatalogError):
        catalog["nothing"]


def test_a_broken_entry_is_refused() -> None:
    with pytest.raises(CatalogError):
        models.read("{}", "x.json")


def test_defaults_are_left_out_of_the_canonical_form() -> None:
    fields = {"prompt": " A fox ", "duration": 5.0, "sound": False, "cfg_scale": 0.5}
    fields |= {"aspect_ratio": "16x9", "negative_prompt": "", "multi_prompt": []}
    assert KLING.canonical(fields) == {"prompt": "A fox"}


def test_false_and_zero_are_not_mixed_up() -> None:
    assert KLING.canonical({"sound": 0}) == {"sound": 0}
    assert KLING.canonical({"cfg_scale": 0}) == {"cfg_scale": 0}


def test_one_spelling_for_each_value() -> None:
    fields = {
        "prompt": "Cafe\u0301",
        "aspect_ratio": "9X16",
        "shot_type": "intelligence",
        "multi_prompt": ["a", {"prompt": "b", "duration": 3.0}, {"prompt": "c"}],
        "element_list": [307212335131305, "829301"],
        "extra": {"novel": 1.0},
    }
    assert KLING.canonical(fields) == {
        "prompt": "Caf\u00e9",
        "aspect_ratio": "9:16",
        "shot_type": "intelligent",
        "multi_prompt": [
            {"prompt": "a"},
            {"prompt": "b", "duration": 3},
            {"prompt": "c"},
        ],
        "element_list": [{"element_id": "307212335131305"}, {"element_id": "829301"}],
        "novel": 1,
    }


def test_an_echo_of_a_request_is_the_same_request() -> None:
    fields = {"prompt": "A fox", "aspect_ratio": "9x16", "multi_prompt": None}
    sent = KLING.request(fields)
    assert sent == {
        "prompt": "A fox",
        "aspect_ratio": "9:16",
        "duration": 5,
        "sound": False,
    }
    echo = json.loads(json.dumps({**sent, "cfg_scale": 0.5, "negative_prompt": None}))
    assert KLING.canonical(echo) == KLING.canonical(sent) == KLING.canonical(fields)
    assert KLING.identity(echo) == KLING.identity(fields)
    assert KLING.identity(echo, 2) != KLING.identity(fields)


def test_unknown_fields_are_kept() -> None:
    assert KLING.canonical({"prompt": "a", "novel": 1}) == {"prompt": "a", "novel": 1}


@given(
    st.dictionaries(
        st.sampled_from([*KLING.fields, "extra", "novel"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
    )
)
def test_the_canonical_form_is_stable_and_nothing_breaks_the_checks(
    fields: dict[str, Any],
) -> None:
    once = KLING.canonical(fields)
    assert KLING.canonical(KLING.request(fields)) == KLING.canonical(once)
    list(KLING.mistakes(fields, live=True))


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        (
            "cfg_scale",
            5,
            (
                "out-of-range",
                "cfg_scale is 5, but it runs from 0 to 1",
                "did you mean 0.5?",
            ),
        ),
        (
            "duration",
            20,
            (
                "out-of-range",
                "duration is 20, but it runs from 3 to 15",
                "choose 3 to 15",
            ),
        ),
        ("duration", 4.5, ("not-whole", "duration is whole seconds, got 4.5", "")),
        (
            "aspect_ratio",
            "4:5",
            (
                "not-allowed",
                "Kling V3.0 4K has no aspect ratio 4:5",
                "choose 16:9, 9:16 or 1:1",
            ),
        ),
        (
            "sound",
            "yes",
            (
                "wrong-type",
                "sound is true or false, got yes",
                "write true or false",
            ),
        ),
        (
            "durration",
            5,
            ("unknown-key", "unknown field `durration`", "did you mean `duration`?"),
        ),
        (
            "ratio",
            "9:16",
            ("unknown-key", "unknown field `ratio`", "did you mean `aspect_ratio`?"),
        ),
        (
            "seed",
            1,
            (
                "unknown-key",
                "unknown field `seed`",
                "this model has no seed; use takes",
            ),
        ),
    ],
)
def test_mistakes_of_one_field(
    field: str, value: object, found: tuple[str, str, str]
) -> None:
    assert said({"prompt": "A fox", field: value}) == [found]


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({}, "no-prompt"),
        ({"prompt": "  "}, "no-prompt"),
        ({"prompt": "x" * 2501}, "too-long"),
        ({"prompt": 5}, "wrong-type"),
        ({"prompt": "a", "duration": "5s"}, "wrong-type"),
        ({"prompt": "a", "duration": True}, "wrong-type"),
        ({"prompt": "a", "multi_prompt": ["b"]}, "not-together"),
        ({"shot_type": "intelligent", "multi_prompt": ["b"]}, "not-together"),
        ({"multi_prompt": [str(number) for number in range(7)]}, "too-many-items"),
        ({"multi_prompt": [{"prompt": "a", "duration": 4}]}, "scene-length"),
        ({"multi_prompt": [{"prompt": ""}]}, "empty-text"),
        ({"multi_prompt": [{"duration": 5}]}, "missing-key"),
        ({"multi_prompt": [{"prompt": "a", "x": 5}]}, "unknown-key"),
        ({"multi_prompt": [{"prompt": "a" * 513}]}, "too-long"),
        ({"multi_prompt": [5]}, "wrong-type"),
        ({"multi_prompt": "a"}, "wrong-type"),
        ({"prompt": "a", "extra": {"sound": True}}, "extra-field"),
        ({"prompt": "a", "extra": 5}, "wrong-type"),
        ({"prompt": "a", "element_list": ["1"]}, "absent-field"),
    ],
)
def test_rules_of_a_request(fields: dict[str, Any], rule: str) -> None:
    assert rules(fields) == [rule]


def test_warnings_do_not_stop_anything() -> None:
    scenes = [{"prompt": "a", "duration": 2}, {"prompt": "b", "duration": 3}]
    found = [
        *KLING.mistakes({"prompt": "x" * 1501}, live=True),
        *KLING.mistakes({"multi_prompt": scenes}, live=True),
        *KLING.mistakes({"prompt": "a", "element_list": ["1"]}, live=False),
        *KLING.mistakes({"prompt": "a", "element_list": ["Mug"]}, live=False),
        *KLING.mistakes({"prompt": "A mug", "element_list": ["Mug"]}, live=False),
    ]
    assert [(mistake.rule, mistake.severity) for mistake in found] == [
        ("long-prompt", "warning"),
        ("short-scene", "warning"),
        ("absent-field", "warning"),
        ("absent-field", "warning"),
        ("unnamed-element", "warning"),
        ("absent-field", "warning"),
    ]


@given(
    st.dictionaries(
        st.sampled_from([*KLING.fields]),
        st.integers(-1, 20)
        | st.floats(-1, 2)
        | st.booleans()
        | st.text(max_size=3)
        | st.sampled_from(["16:9", "\ud800", "customize", "x" * 2501, ["a"], {}]),
    )
)
def test_a_quick_yes_is_a_yes(fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        schema = KLING.schema["properties"].get(name, {})
        if checks.sound(schema)(value):
            assert list(checks.check(value, schema, (name,), "it")) == []


@given(
    st.dictionaries(
        st.text(max_size=4),
        st.recursive(
            st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
            | st.none(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=6,
        ),
    )
)  # fmt: skip
def test_a_hash_is_of_the_json_the_page_names(fields: dict[str, Any]) -> None:
    body = {"model": "m", "input": fields, "take": 1}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    raw = text.encode("utf-8", "surrogatepass")
    if "Infinity" not in text:
        assert canonical.digest("m", fields, 1) == sha256(raw).hexdigest()
