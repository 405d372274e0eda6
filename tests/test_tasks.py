"""From manifests to tasks: what is bought, under which name, for how much."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from batchgen import manifest, models, tasks
from batchgen.errors import ManifestError
from batchgen.tasks import Task

ROOT = Path(__file__).parents[1]
SPRING = ROOT / "manifests" / "spring-launch.yaml"
GOLDEN = Path(__file__).with_name("golden-spring-launch.json")


def load(path: Path, *, live: bool = False) -> manifest.Manifest:
    return manifest.load(path, environ={}, catalog=models.catalog(), live=live)


def expand(path: Path, *, live: bool = False) -> list[Task]:
    return list(tasks.expand(load(path, live=live), models.catalog(), live=live))


def written(folder: Path, text: str, name: str = "m.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def rules(path: Path, *, live: bool = False) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        expand(path, live=live)
    return [finding.rule for finding in caught.value.findings]


def plainly(fields: Mapping[str, Any], take: int = 1) -> str:
    """The identity, worked out again from the page alone."""
    body = {"model": models.DEFAULT_MODEL, "input": fields, "take": take}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode()).hexdigest()[:32]


def test_the_spring_launch_costs_what_the_page_says() -> None:
    expansion = tasks.check(load(SPRING), models.catalog(), live=True)
    found = list(expansion)
    assert expansion.findings == []
    assert expansion.axes == (
        ("product", 2),
        ("locale", 3),
        ("aspect_ratio", 3),
        ("hook", 2),
    )
    counts = (expansion.product, expansion.excluded, expansion.included)
    assert counts == (36, 12, 1)
    assert (len(found), expansion.seconds) == (25, 124)
    assert expansion.price == sum(task.price for task in found) == 52_080_000
    assert found[0].slug == "MUG-01_en-US_9x16_steam"
    assert found[-1].slug == "hero-film"


def test_golden_hashes() -> None:
    found = {task.slug: task.id for task in expand(SPRING)}
    assert found == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_a_hash_can_be_worked_out_by_hand() -> None:
    found = {task.slug: task for task in expand(SPRING)}
    house = "blurry, warped lettering, extra fingers, watermark"
    assert found["MUG-01_de-DE_9x16_steam"].id == plainly(
        {
            "prompt": "A matte stone-glaze ceramic mug by Aurora, speckled like a "
            "river pebble. Steam curls off the rim beside a rain-streaked window. "
            'A small card reads "Langsame Morgen, warme Hände.". Slow dolly in, '
            "natural light, shallow depth of field.",
            "negative_prompt": f"{house}, horizontal framing",
            "aspect_ratio": "9:16",
            "cfg_scale": 0.6,
            "sound": True,
        }
    )
    assert found["TMB-02_ja-JP_1x1_steam"].id == plainly(
        {
            "prompt": "A brushed steel tumbler by Aurora, with a soft evening "
            "reflection. Steam curls off the rim beside a rain-streaked window. "
            'A small card reads "ゆっくりした朝を。". Slow dolly in, '
            "natural light, shallow depth of field.",
            "negative_prompt": house,
            "aspect_ratio": "1:1",
            "cfg_scale": 0.6,
            "sound": True,
        }
    )
    assert found["hero-film"].id == plainly(
        {
            "duration": 12,
            "negative_prompt": house,
            "cfg_scale": 0.6,
            "sound": True,
            "multi_prompt": [
                {"prompt": "Kettle lamp flickers on, blue hour outside", "duration": 4},
                {
                    "prompt": "Macro: coffee blooms in a stone-glaze mug",
                    "duration": 4,
                },
                {
                    "prompt": "Two hands wrap around the mug, the sun breaks",
                    "duration": 4,
                },
            ],
        }
    )


def test_overrides_reach_what_they_replace() -> None:
    found = {task.slug: task for task in expand(SPRING)}
    unbox = found["MUG-01_en-US_9x16_unbox"]
    assert (unbox.seconds, unbox.input["sound"]) == (4, False)
    assert unbox.input["negative_prompt"].endswith("watermark, horizontal framing")
    assert unbox.labels == {
        "product": "MUG-01",
        "locale": "en-US",
        "aspect_ratio": "9:16",
        "hook": "unbox",
    }
    assert unbox.output == "MUG-01_en-US_9x16_unbox.mp4"


def test_defaults_are_sent_but_are_no_part_of_the_identity(tmp_path: Path) -> None:
    short = expand(written(tmp_path, "prompts: [A fox]"))
    text = "prompts: [A fox]\nsettings: {duration: 5.0, aspect_ratio: 16x9}"
    spelled = expand(written(tmp_path, text))
    assert short[0].id == spelled[0].id == plainly({"prompt": "A fox"})
    assert short[0].input == {
        "prompt": "A fox",
        "duration": 5,
        "aspect_ratio": "16:9",
        "sound": False,
    }


@pytest.mark.parametrize("name", ["spring-launch.yaml", "minimal.yaml", "briefs.csv"])
def test_tasks_written_out_are_a_manifest_of_the_same_tasks(
    tmp_path: Path, name: str
) -> None:
    first = expand(ROOT / "manifests" / name)
    lines = [json.dumps(tasks.to_json(task)) for task in first]
    again = expand(written(tmp_path, "\n".join(lines), "again.jsonl"))
    assert [tasks.to_json(task) for task in again] == [
        tasks.to_json(task) for task in first
    ]
    assert [(task.id, task.slug, task.output, task.price) for task in again] == [
        (task.id, task.slug, task.output, task.price) for task in first
    ]
    assert [task.labels for task in again] == [task.labels for task in first]


def test_extra_and_a_price_survive_the_way_through_jsonl(tmp_path: Path) -> None:
    text = "prompts: [A fox]\nsettings: {extra: {novel: 1}}\nprice: {per_task: 0.05}"
    first = expand(written(tmp_path, text))
    line = tasks.to_json(first[0])
    assert (line["extra"], line["price"]) == ({"novel": 1}, 0.05)
    again = expand(written(tmp_path, json.dumps(line), "again.jsonl"))
    assert (again[0].id, again[0].price) == (first[0].id, 50_000)


def test_takes_count_up_in_name_and_identity(tmp_path: Path) -> None:
    path = written(tmp_path, "takes: 2\nprompts: [{id: fox, prompt: A fox}]")
    assert [(task.slug, task.take, task.id) for task in expand(path)] == [
        ("fox", 1, plainly({"prompt": "A fox"})),
        ("fox_t2", 2, plainly({"prompt": "A fox"}, 2)),
    ]


def test_a_row_without_an_id_is_named_after_its_prompt(tmp_path: Path) -> None:
    path = written(tmp_path, "prompts: [Über den Fluß gehen wir still, 日本語]")
    found = expand(written(tmp_path, "prompts:\n- Über den Fluß gehen wir\n- 日本語"))
    assert found[0].slug == f"uber-den-fluss-gehen-wir~{found[0].id[:8]}"
    assert found[1].slug == f"clip~{found[1].id[:8]}"
    assert path.exists()


def test_precedence_from_weak_to_strong(tmp_path: Path) -> None:
    text = """
settings: {duration: 4, cfg_scale: 0.1, negative_prompt: base}
matrix:
  pace:
    - id: slow
      set: {duration: 6, cfg_scale: 0.2, negative_prompt: "{{ inherited }}+axis"}
prompts:
  - {id: a, prompt: A fox, cfg_scale: 0.3}
overrides:
  - {when: {id: a}, set: {negative_prompt: "{{ inherited }}+one"}}
  - {when: {pace: s*}, set: {negative_prompt: "{{ inherited }}+two"}}
"""
    task = expand(written(tmp_path, text))[0]
    assert task.input["duration"] == 6
    assert task.input["cfg_scale"] == 0.3
    assert task.input["negative_prompt"] == "base+axis+one+two"


def test_an_included_task_names_a_value_for_each_axis(tmp_path: Path) -> None:
    text = """
prompt: "{{ hook.scene }} {{ locale }}"
matrix:
  locale: [en, de]
  hook: [{id: a, scene: Steam}]
include:
  - {id: new, locale: en, hook: {id: b, scene: Rain}, duration: 7}
"""
    task = expand(written(tmp_path, text))[-1]
    assert (task.slug, task.input["prompt"], task.seconds) == ("new_en_b", "Rain en", 7)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("exclude: [{locale: fr}]", "matches-nothing"),
        ("exclude: [{lokale: en}]", "unknown-axis"),
        ("exclude: [{locale: '*'}]", "excludes-everything"),
        ("overrides: [{when: {locale: fr}, set: {duration: 4}}]", "matches-nothing"),
        ("output: x.mp4", "name-clash"),
        ("output: '../{{ slug }}.mp4'", "unsafe-name"),
        ("output: '/{{ slug }}.mp4'", "unsafe-name"),
        ("output: '{{ nothing }}.mp4'", "undefined-variable"),
        ("settings: {negative_prompt: '{{ a.b }}'}", "undefined-variable"),
        ("settings: {negative_prompt: '{{ locale.upper() }}'}", "template"),
        ("settings: {negative_prompt: '{{ 2 ** 99 }}'}", "template"),
        ("settings: {negative_prompt: '{{ locale | safe }}'}", "unknown-filter"),
        ("settings: {multi_prompt: [a]}", "not-together"),
        ("include: [{id: en, prompt: Other}]", "duplicate-id"),
        ("include: [{locale: fr}]", "unknown-value"),
    ],
)
def test_rules_of_expansion(tmp_path: Path, text: str, rule: str) -> None:
    base = "prompt: 'A {{ locale }}'\nmatrix: {locale: [en, de]}\n"
    assert rules(written(tmp_path, base + text)) == [rule]


def test_one_request_is_not_bought_twice(tmp_path: Path) -> None:
    path = written(tmp_path, "prompt: A fox\nmatrix: {locale: [en, de]}")
    assert rules(path) == ["identical-requests"]


def test_nothing_is_yielded_before_everything_is_sound(tmp_path: Path) -> None:
    path = written(tmp_path, "prompts: [A fox, '{{ nothing }}']")
    with pytest.raises(ManifestError):
        next(tasks.expand(load(path), models.catalog(), live=False))


def test_too_many_tasks_stop_with_the_count(tmp_path: Path) -> None:
    path = written(tmp_path, "takes: 20\nprompts: [A fox]")
    with pytest.raises(ManifestError) as caught:
        list(tasks.expand(load(path), models.catalog(), live=False, max_tasks=19))
    (finding,) = caught.value.findings
    assert (finding.rule, "--max-tasks 20" in finding.advice) == ("too-many", True)


def test_a_field_the_service_would_drop_is_refused_live(tmp_path: Path) -> None:
    path = written(tmp_path, "prompts: [A fox]\nsettings: {element_list: [1]}")
    with pytest.raises(ManifestError) as caught:
        load(path, live=True)
    assert [finding.rule for finding in caught.value.findings] == ["absent-field"]
    assert [finding.severity for finding in load(path).warnings] == ["warning"]
    (task,) = expand(path)
    assert task.input["element_list"] == [{"element_id": "1"}]


def test_braces_of_other_tools_get_a_warning(tmp_path: Path) -> None:
    expansion = tasks.check(
        load(written(tmp_path, 'prompts: ["A {red,blue} fox"]')),
        models.catalog(),
        live=False,
    )
    assert len(list(expansion)) == 1
    assert [finding.rule for finding in expansion.findings] == ["braces"]


def test_a_template_fills_a_number_field(tmp_path: Path) -> None:
    text = "prompts: [A fox]\nvars: {d: 7}\nsettings: {duration: '{{ d }}'}"
    assert expand(written(tmp_path, text))[0].seconds == 7


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ('{"prompt": "a", "price": "x"}', "bad-money"),
        ('{"prompt": "a", "price": 0.12345678}', "bad-money"),
        ('{"prompt": "a", "take": 0}', "out-of-range"),
        ('{"prompt": "a", "id": 5}', "wrong-type"),
        ('{"prompt": "a", "labels": []}', "wrong-type"),
        ('{"prompt": "a", "output": "../x"}', "unsafe-name"),
        ('{"prompt": "a", "model": "kling"}', "unknown-model"),
        ('{"prompt": "a", "extra": {"x": 1e999}}', "bad-json"),
        ('{"prompt": "a", "extra": {"x": NaN}}', "bad-json"),
        ('{"prompt": "\\ud800"}', "bad-text"),
        ('{"prompt": "a", "duration": 99999999999999999999999}', "out-of-range"),
        (f'{{"prompt": "a", "extra": {{"x": {"[" * 90}{"]" * 90}}}}}', "too-deep"),
        ('{"prompt": "a", "prompt": "b"}', "duplicate-key"),
        ("[]", "bad-json"),
        ("{", "bad-json"),
    ],
)
def test_rules_of_lines(tmp_path: Path, line: str, rule: str) -> None:
    assert rules(written(tmp_path, line, "t.jsonl")) == [rule]


def test_lines_are_literal(tmp_path: Path) -> None:
    line = '{"prompt": "{{ x }} ${HOME}", "output": "a/b"}'
    (task,) = expand(written(tmp_path, line, "t.jsonl"))
    assert (task.input["prompt"], task.output) == ("{{ x }} ${HOME}", "a/b.mp4")


def test_names_labels_and_takes_survive_the_way_through_jsonl(tmp_path: Path) -> None:
    text = """
prompts:
  - A {{ place }} fox
  - {prompt: "B {{ place }}", id: x y/z, labels: {week: 12}}
matrix: {place: [de, "a:b", 1.10]}
takes: 2
output: {name: "{{ place }}/{{ slug }}", ascii: true}
labels: {campaign: Zürich}
"""
    first = expand(written(tmp_path, text))
    assert (first[-1].slug, first[-1].output) == (
        "x y-z_1.10_t2",
        "1.10/x y-z_1.10_t2.mp4",
    )
    assert first[-1].labels == {"campaign": "Zürich", "week": "12", "place": "1.10"}
    lines = [json.dumps(tasks.to_json(task)) for task in first]
    again = expand(written(tmp_path, "\n".join(lines), "again.jsonl"))
    assert [(task.id, task.slug, task.output, task.labels) for task in again] == [
        (task.id, task.slug, task.output, task.labels) for task in first
    ]
