"""`batchgen models`: the catalog as a person and as a program reads it."""

import json

import pytest
from click.testing import CliRunner, Result

from batchgen.cli import batchgen, call
from batchgen.models import DEFAULT_MODEL, catalog


def shown(*arguments: str) -> Result:
    return CliRunner().invoke(batchgen, ["models", *arguments])


def test_the_list_has_every_model_with_price_size_date_and_fields() -> None:
    text = shown().output
    for model in catalog():
        assert f"{model.alias} " in text
        assert f"  {model.id}, " in text
        assert model.snapshot in text
    assert "kling-4k                $0.42 a second  (default)\n" in text
    assert "$0.112 a second, $0.168 with sound" in text
    assert "$0.01 each" in text
    assert max(map(len, text.splitlines())) <= 80
    assert len(shown("-q").output.splitlines()) == len(list(catalog()))


def test_one_model_in_detail() -> None:
    text = shown("kling-pro-i2v").output
    assert text.startswith("Kling V3.0 Pro image-to-video\n")
    for part in (
        "  id         kwaivgi/kling-v3.0-pro/image-to-video\n",
        "3 s $0.336, 5 s $0.56, 10 s $1.12, 15 s $1.68\n",
        "with sound 3 s $0.504, 5 s $0.84",
        "    image             needed; ",
        "    duration          3 to 15, else 5.",
        "    element_list      a list of at most 3.",
    ):
        assert part in text
    assert text == shown("kwaivgi/kling-v3.0-pro/image-to-video").output


def test_where_descriptions_differ_it_says_so() -> None:
    text = " ".join(shown("kling-4k").output.split())
    assert (
        "before 2026-08, the model's documentation page: another element_list" in text
    )
    assert "2026-09, the model's llms.txt: another shot_type" in text
    assert "`video` and `keep_original_sound`" in shown("kling-o3-pro-ref").output


def test_as_data() -> None:
    whole = json.loads(shown("--json").output)
    assert whole["schema"] == "batchgen.models/1"
    assert [row["id"] for row in whole["models"]] == [model.id for model in catalog()]
    assert [row["id"] for row in whole["models"] if row["default"]] == [DEFAULT_MODEL]
    (one,) = json.loads(shown("kling-o3-std", "--json").output)["models"]
    assert one["price"] == {"per_second_usd": 0.084, "per_second_with_sound_usd": 0.112}
    assert one["schema"] == catalog()["kling-o3-std"].schema


def test_an_unknown_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["models", "kling-5k"]) == 2
    said = capsys.readouterr().err
    assert "error: no model kling-5k in the catalog [unknown-model]\n" in said
    assert "Did you mean kling-4k?" in said
