"""A manifest that is plainly right is read as pydantic would read it, only sooner."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pydantic import ValidationError

from batchgen.given import Output, Plain, plain
from batchgen.keys import OutputKeys, Written

PLAN = """
import sys
from batchgen.cli import call
call(["plan", sys.argv[1]])
print(*{name.split(".")[0] for name in sys.modules})
"""
SLOW = {"pydantic", "pydantic_core", "httpx", "jinja2", "anyio"}


def test_nothing_written_is_what_keys_are_by_default() -> None:
    ours, theirs = Plain(), Written()
    for name in Written.model_fields:
        mine = getattr(ours, name)
        plain = [*mine] if isinstance(mine, tuple) else mine
        assert plain == getattr(theirs, name), name


def test_an_output_is_what_its_keys_are_by_default() -> None:
    assert all(
        getattr(Output(), name) == getattr(OutputKeys(), name)
        for name in OutputKeys.model_fields
    )


# Of each key what it takes plainly, at its bounds too.
RIGHT: dict[str, tuple[Any, ...]] = {
    "version": (1,),
    "name": ("nightly", "a-1", None),
    "description": ("", "For spring"),
    "model": ("kling-std", ""),
    "price": (None,),
    "prompt": ("A boat", "", None),
    "prompts": (
        *(["A boat"], [{"prompt": "A boat", "takes": 2}, "x"], [{}], None),
        *({"from": "a.csv"}, {"from": "a.csv", "id": "x"}, {"from": "", "id": None}),
    ),
    "settings": ({}, {"duration": 5, "seed": None}, {"a": {"b": [1.5, True]}}),
    "elements": ({},),
    "vars": ({}, {"a": 1, "b": 1.0, "c": True, "d": "x", "e": 10**30}),
    "matrix": ({}, {"hook": ["a", 1, None, {"id": "b"}], "b": {"from": "a.csv"}}),
    "exclude": ([], [{"a": 1}, {"a": ["x", 2.5, False]}, {}], [{"a": []}]),
    "overrides": ([], [{"when": {"a": [1, "b"]}, "set": {"b": 2, "c": None}}]),
    "include": ([], [{}], [{"prompt": "A boat"}]),
    "takes": (1, 20),
    "labels": ({}, {"a": "b", "": ""}),
    "budget": (1, 12.5, 0.000001),
    "tier": ("bronze", "silver", "gold", "ultra", None),
    "concurrency": (1, 5000, None),
    "rate": ("60/min", "5 / s"),
    "reads": ("5/s",),
    "deadline": ("8h", "06:30", "06:30 Europe/Berlin", "2126-01-01T00:00:00Z"),
    "task_timeout": ("90s", "2h", "0.5m"),
    "stop_after_failures": (0, 10_000),
    "retry": (1, 20),
    "uncertain": ("hold", "rebuy-absent"),
    "output": ("", "{{ slug }}.mp4"),
    "notify": ([],),
    "x-mine": (None, 5, {"a": []}),
}
# What some key takes in another form, and what none takes.
ODD: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 2, 20, 21, 5000, 5001, 10_000, 10_001, 10**30),
    *(0.0, 1.0, 0.5, -0.5, 1e-7, 1e300, float("nan"), float("inf")),
    *("", "1", "Z", "A b", "a\n", "5/min", "0/s", "90s", "0s", "25:00", "tomorrow"),
    *("2026-11-23", "06:30 Mars/Olympus", "${X}", "s3://bucket/prefix"),
    *([], [[]], [{}], [None], [1], [""], ["a", None], [{"a": None}], [{"a": {}}]),
    *([{"a": [None]}], [{"a": [[1]]}], [{"when": {"a": 1}, "set": {"b": 2}}]),
    *([{"when": {}, "set": {"b": 2}}], [{"when": {"a": 1}}], [{"set": {"b": 2}}]),
    *([{"when": {"a": None}, "set": {"b": 2}}], [{"when": {"a": 1}, "set": {}}]),
    *([{"when": {"a": 1}, "set": {"b": 2}, "x": 1}], {"file": "a.csv"}),
    *({"from": 1}, {"from": "a.csv", "id": 5}, {"from": "a.csv", "x": 1}),
    *([{"on": ["done"], "webhook": "https://x.example"}],),
    *({}, {"a": None}, {"a": 1}, {"a": []}, {"a": {}}, {"a": "b", "c": 1}),
    *({"from": "a.csv"}, {"from": "a.csv", "id": "x"}, {"a": {"from": "a.csv"}}),
    *({"total": 5}, {"total": 5, "session": 2}, {"per_second": 0.1}, {"attempts": 3}),
    *({"name": "x"}, {"a": {"image": "a.png", "description": "A cup"}}),
)
KEYS = some.sampled_from([*Written.model_fields, "x-mine", "promts"])
DOCUMENTS = some.fixed_dictionaries(
    {}, optional={key: some.sampled_from(values) for key, values in RIGHT.items()}
)
ANYTHING = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(),
    lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner),
    max_leaves=6,
)


def read(document: dict[str, Any]) -> str | None:
    """Each key as pydantic reads it, with its type; None for what it refuses."""
    known = {key: document[key] for key in document if not key.startswith("x-")}
    try:
        return told(Written.model_validate(known))
    except ValidationError:
        return None


def told(keys: Plain | Written) -> str:
    return repr([(name, getattr(keys, name)) for name in Written.model_fields])


def test_both_know_the_same_keys() -> None:
    assert set(Plain.__struct_fields__) == set(Written.model_fields)
    assert set(RIGHT) - {"x-mine"} == set(Written.model_fields)


@pytest.mark.parametrize("key", RIGHT)
def test_every_value_of_a_key_is_read_alike_or_left_to_pydantic(key: str) -> None:
    for value in (*RIGHT[key], *ODD):
        found = plain({key: value})
        assert found is None or told(found) == read({key: value}), value


@given(DOCUMENTS)
def test_what_is_plainly_right_needs_no_pydantic(document: dict[str, Any]) -> None:
    found = plain(document)
    assert found is not None
    assert told(found) == read(document)


@given(DOCUMENTS, some.dictionaries(KEYS, ANYTHING | some.sampled_from(ODD)))
def test_whatever_is_written_is_read_alike_or_left_to_pydantic(
    document: dict[str, Any], more: dict[str, Any]
) -> None:
    found = plain(document | more)
    assert found is None or told(found) == read(document | more)


@pytest.mark.parametrize("document", [None, [], "prompts", 5])
def test_what_is_no_map_is_left_to_pydantic(document: Any) -> None:
    assert plain(document) is None


@pytest.mark.parametrize(
    ("name", "text", "slow"),
    [
        ("sheet.csv", "id,prompt\na,A boat\n", {*SLOW, "yaml"}),
        ("m.yaml", "budget: 60\nmatrix: {hook: [a, b]}\nprompts: [A boat]\n", SLOW),
    ],
)
def test_a_plain_plan_does_without_what_is_slow_to_load(
    name: str, text: str, slow: set[str], tmp_path: Path
) -> None:
    manifest = tmp_path / name
    manifest.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", PLAN, str(manifest)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "batchgen" in loaded
    assert not slow & loaded, done.stdout
