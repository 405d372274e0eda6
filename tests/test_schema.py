"""The schema says what the language says, in a second opinion."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from batchgen import manifest, models, schema, tasks
from batchgen.cli import batchgen
from batchgen.errors import ManifestError
from batchgen.keys import Written
from batchgen.readers import yaml

FOLDER = Path(__file__).parents[1] / "manifests"
DOCUMENT = schema.document(models.catalog())
VALIDATOR = Draft202012Validator(DOCUMENT)


def complaints(text: str) -> list[str]:
    """Where an independent validator finds a manifest at fault, as it was typed."""
    document, findings = yaml.read(text, "m.yaml", {})
    assert document is not None
    assert [finding for finding in findings if finding.rule != "unset-variable"] == []
    return [str(error.json_path) for error in VALIDATOR.iter_errors(document.data)]


def planned(folder: Path, text: str, **environ: str) -> list[tasks.Task]:
    """What batchgen makes of it."""
    path = folder / "m.yaml"
    path.write_text(text, encoding="utf-8")
    found = manifest.load(path, environ=environ, catalog=models.catalog(), live=True)
    return list(tasks.expand(found, models.catalog(), live=True))


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(DOCUMENT)
    assert DOCUMENT["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_file_is_what_the_command_prints() -> None:
    """If this fails: batchgen schema > manifests/batchgen.schema.json."""
    printed = CliRunner().invoke(batchgen, ["schema"]).output
    assert (FOLDER / schema.NAME).read_text(encoding="utf-8") == printed


@pytest.mark.parametrize(
    "path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.name
)
def test_every_example_is_valid(path: Path) -> None:
    assert complaints(path.read_text(encoding="utf-8")) == []


def test_every_key_is_described() -> None:
    properties = DOCUMENT["properties"]
    assert {*Written.model_fields} <= {*properties}
    owners = [properties, *(part.get("properties", {}) for part in parts())]
    bare = [
        name
        for owner in owners
        for name, found in owner.items()
        if not ({"description", "$ref"} & found.keys())
    ]
    assert bare == []


def parts() -> list[dict[str, Any]]:
    return [*DOCUMENT["$defs"].values()]


def test_ranges_and_choices_come_from_the_catalog() -> None:
    duration = DOCUMENT["$defs"]["field.duration"]
    assert duration["anyOf"][0] == {"type": "integer", "minimum": 3, "maximum": 15}
    assert duration["description"] == "Length of the clip in whole seconds. 3 to 15."
    ratio = DOCUMENT["$defs"]["field.aspect_ratio"]["anyOf"][0]
    assert ratio["enum"] == ["16:9", "9:16", "1:1"]
    assert DOCUMENT["properties"]["model"]["anyOf"][0]["enum"] == [
        *sorted(word for one in models.catalog() for word in (one.alias, one.id))
    ]


NIGHTLY = """
name: nightly-ugc
prompts: { from: inbox/briefs.csv }
settings: { duration: 5, negative_prompt: "watermark, text artefacts" }
budget: { total: 2000, session: 400 }
tier: silver
concurrency: 60
rate: 60/min
deadline: "06:30 Europe/Berlin"
task_timeout: 45m
stop_after_failures: 10
retry: { attempts: 3, backoff: 10s, max_backoff: 5m }
output:
  name: "{{ campaign }}/{{ locale }}/{{ slug }}.mp4"
  ascii: true
  flagged: quarantine
  sidecar: false
notify:
  - { on: [done, stopped], webhook: "${SLACK_WEBHOOK_URL:-https://hooks.example/x}" }
  - { on: [failed], command: [logger, -t, batchgen] }
elements: { AuroraMug: "829301", AuroraPot: 829302 }
"""


def test_the_keys_of_an_overnight_batch_are_valid() -> None:
    assert complaints(NIGHTLY) == []


FOX = "prompts: [A fox]\n"
GOOD = [
    FOX,
    FOX + "budget: ${CAP}\ntakes: ${TAKES:-2}\nname: ${NAME:-fox}",
    FOX + "budget: {total: 12.5}\nreads: 5/s\nretry: 3\nuncertain: rebuy-absent",
    FOX + "x-house: &h {cfg_scale: 0.6}\nsettings: {<<: *h, duration: 5.0}",
    FOX + "settings: {aspect_ratio: 9x16, negative_prompt: ~}",
    FOX + "settings: {extra: {seed: 7}}\nlabels: {n: 7, live: true}",
    FOX + 'vars: {n: 7}\nsettings: {duration: "{{ n }}"}',
    FOX + "model: vendor/film-9\nprice: {per_task: 1}",
    FOX + "model: kling-4k\nprice: {per_second: 0.5}\nversion: 1",
    FOX + "matrix: {aspect_ratio: [1:1, {id: 9:16}], duration: [4, 5]}",
    FOX + "matrix: {duration: [{id: short, set: {duration: 4}}]}",
    FOX + "matrix: {look: [{id: a, set: {duration: 4}}, {id: b, set: {sound: true}}]}",
    "prompts: [{id: one, prompt: A fox, takes: 2, labels: {who: me}}]",
    "prompts: [{multi_prompt: [A fox, {prompt: runs, duration: 3}]}]",
    """
prompt: A {{ hook }} fox
matrix: { hook: [red, 7, true] }
exclude: [{ hook: [red, 7] }]
overrides: [{ when: { hook: 'true' }, set: { sound: true } }]
""",
    """
prompt: A {{ hook.look }} fox
matrix: { hook: [{ id: a, look: red }] }
include: [{ id: x, hook: { id: b, look: grey }, duration: 4 }, { prompt: An owl }]
""",
    "include: [{prompt: A fox, duration: 12}]",
    "settings: {multi_prompt: [A fox, An owl]}",
]


@pytest.mark.parametrize("text", GOOD)
def test_what_batchgen_takes_is_valid(tmp_path: Path, text: str) -> None:
    assert planned(tmp_path, text, CAP="7", TAKES="2")
    assert complaints(text) == []


BAD = [
    ("durration: 5", "$"),
    ("settings: {durration: 5}", "$.settings"),
    ("settings: {aspect_ratio: 4:5}", "$.settings.aspect_ratio"),
    ("settings: {cfg_scale: 5}", "$.settings.cfg_scale"),
    ("settings: {duration: 4.5}", "$.settings.duration"),
    ("settings: {duration: 5s}", "$.settings.duration"),
    ("settings: {duration: 16}", "$.settings.duration"),
    ("settings: {sound: no}", "$.settings.sound"),
    ("settings: {shot_type: freestyle}", "$.settings.shot_type"),
    ("settings: {seed: 7}", "$.settings"),
    ("settings: {extra: {duration: 5}}", "$.settings.extra"),
    ("settings: [duration]", "$.settings"),
    ("budget: 60 USD", "$.budget"),
    ("budget: 0", "$.budget"),
    ("budget: {totl: 60}", "$.budget"),
    ("budget: {session: 5}", "$.budget"),
    ("takes: 0", "$.takes"),
    ("takes: 21", "$.takes"),
    ("concurrency: 5001", "$.concurrency"),
    ("rate: 60", "$.rate"),
    ("rate: 60/hour", "$.rate"),
    ("reads: fast", "$.reads"),
    ("retry: {attempts: 3, backoff: 10}", "$.retry"),
    ("retry: 0", "$.retry"),
    ("uncertain: maybe", "$.uncertain"),
    ("version: 2", "$.version"),
    ("name: Spring Launch", "$.name"),
    ("description: 5", "$.description"),
    ("model: klinq", "$.model"),
    ("model: vendor/film-9", "$"),
    ("price: {per_secnd: 1}", "$.price"),
    ("price: {per_second: -1}", "$.price"),
    ("prompt: An owl", "$"),
    ("vars: {brand: [a]}", "$.vars.brand"),
    ("vars: {slug: a}", "$.vars"),
    ("matrix: {hook: []}", "$.matrix.hook"),
    ("matrix: {hook: [[a]]}", "$.matrix.hook"),
    ("matrix: {hook: [{name: a}]}", "$.matrix.hook"),
    ("matrix: {hook: [{id: a, set: {durration: 4}}]}", "$.matrix.hook"),
    ("matrix: {take: [a, b]}", "$.matrix"),
    ("matrix: {aspect_ratio: [9:16, 4:5]}", "$.matrix.aspect_ratio"),
    ("matrix: {aspect_ratio: [{id: 4:5}]}", "$.matrix.aspect_ratio"),
    ("matrix: {hook: {from: a.csv, key: sku}}", "$.matrix.hook"),
    ("exclude: {hook: a}", "$.exclude"),
    ("overrides: [{when: {hook: a}}]", "$.overrides[0]"),
    ("overrides: [{when: {hook: a}, set: {}}]", "$.overrides[0].set"),
    ("overrides: [{when: {}, set: {duration: 4}}]", "$.overrides[0].when"),
    ("overrides: [{when: {hook: a}, set: {sond: true}}]", "$.overrides[0].set"),
    ("include: [{prompt: An owl, durration: 4}]", "$.include[0]"),
    ("include: [{prompt: An owl, takes: 0}]", "$.include[0].takes"),
    ("output: {nam: a}", "$.output"),
    ("labels: {who: [a]}", "$.labels.who"),
    ("tier: platinum", "$.tier"),
    ("task_timeout: 45", "$.task_timeout"),
    ("stop_after_failures: -1", "$.stop_after_failures"),
    ("output: {flagged: drop}", "$.output"),
    ("elements: {Mug: 8293.5}", "$.elements.Mug"),
    ("elements: {Mug: {}}", "$.elements.Mug"),
    ("notify: [{on: [done]}]", "$.notify[0]"),
    ("notify: [{on: [dnoe], command: [a]}]", "$.notify[0].on[0]"),
    ("notify: [{on: [done], webhook: 'ftp://a'}]", "$.notify[0].webhook"),
    ("price: {per_second: 1, per_task: 1}", "$.price"),
]


@pytest.mark.parametrize(("line", "place"), BAD)
def test_what_batchgen_refuses_is_not_valid(
    tmp_path: Path, line: str, place: str
) -> None:
    text = FOX + line
    with pytest.raises(ManifestError):
        planned(tmp_path, text)
    assert complaints(text) == [place]


BARE = [
    "prompts: []",
    "prompts: [5]",
    "prompts: [{prompt: A fox, durration: 4}]",
    "prompts: [{prompt: A fox, cfg_scale: 5}]",
    "prompts: A fox",
    "budget: 5",
    "settings: {prompt: A fox}\nprompt: An owl",
    "- A fox",
]


@pytest.mark.parametrize("text", BARE)
def test_a_manifest_without_a_sound_prompt_is_not_valid(
    tmp_path: Path, text: str
) -> None:
    with pytest.raises(ManifestError):
        planned(tmp_path, text)
    assert complaints(text)
