"""The template language, and names."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen import names
from batchgen.templates import Templates
from batchgen.variables import Choice, TemplateFault, is_template

HOOK = Choice("steam", {"scene": "Steam curls", "title": "A title", "on": True})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ hook }}", "steam"),
        ("{{ hook.scene }}", "Steam curls"),
        ("{{ hook.title }}", "A title"),
        ("{{ hook.on }}", "true"),
        ("{{ hook | upper }} {{ 'Ä b' | slug }}", "STEAM a-b"),
        ("{% if hook == 'steam' %}yes{% else %}no{% endif %}", "yes"),
        ("{% for x in ['a', 'b'] %}{{ x }}{% endfor %}", "ab"),
        ("{{ nothing | default('x') }}", "x"),
        ("{{ flag }} {{ five }}", "false 5"),
    ],
)
def test_what_templates_can_do(text: str, expected: str) -> None:
    variables: dict[str, Any] = {"hook": HOOK, "flag": False, "five": 5.0}
    assert Templates().render(text, variables) == expected


@pytest.mark.parametrize(
    ("text", "rule", "culprit"),
    [
        ("{{ hok }}", "undefined-variable", "hok"),
        ("{{ hook.look }}", "undefined-variable", "hook.look"),
        ("{{ hook", "template", "{{ hook"),
        ("{{ hook | safe }}", "unknown-filter", "safe"),
        ("{{ range(9) }}", "template", "{{ range(9) }}"),
        ("{{ hook.__class__ }}", "template", "{{ hook.__class__ }}"),
        ("{{ 'a' * 999999999 }}", "template", "{{ 'a' * 999999999 }}"),
        ("{{ '%9999d' % 5 }}", "template", "{{ '%9999d' % 5 }}"),
        ("{{ ''.join(['a']) }}", "template", "{{ ''.join(['a']) }}"),
        ("{% include 'x' %}", "template", "{% include 'x' %}"),
    ],
)
def test_what_templates_cannot_do(text: str, rule: str, culprit: str) -> None:
    with pytest.raises(TemplateFault) as caught:
        Templates().render(text, {"hook": HOOK})
    assert (caught.value.rule, caught.value.culprit) == (rule, culprit)


def test_a_loop_cannot_fill_the_memory() -> None:
    loop = "{% for a in x %}{% for b in x %}{{ x }}{% endfor %}{% endfor %}"
    with pytest.raises(TemplateFault) as caught:
        Templates().render(loop, {"x": "y" * 1000})
    assert caught.value.rule == "too-long"


def test_templates_are_found_anywhere_inside_a_value() -> None:
    assert is_template([{"prompt": "{{ a }}"}])
    assert not is_template(["{a}", 5, None])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("16:9", "16x9"),
        ("a/b\\c", "a-b-c"),
        ('<a>:"b"|?*', "a-b-"),
        ("..a", "a"),
        ("-a. ", "a"),
        ("CON", "_CON"),
        ("com1.txt", "_com1.txt"),
        ("Zürich 日本", "Zürich 日本"),
        ("a\u202eb\u200b", "ab"),
        ("e\u0301", "\u00e9"),
    ],
)
def test_a_segment_is_safe_everywhere(text: str, expected: str) -> None:
    assert names.segment(text) == expected


def test_ascii_names() -> None:
    assert names.segment("Zürich Straße", fold=True) == "Zurich Strasse"


def test_a_long_segment_is_cut_at_a_letter() -> None:
    found = names.segment("日" * 100, ending=".mp4")
    assert len(found.encode()) <= 120
    assert found.endswith(".mp4")
    assert "~" in found


@given(st.text())
def test_no_value_leaves_its_folder(text: str) -> None:
    found = names.segment(text)
    assert not set(found) & set('/\\:*?"<>|\0\n')
    assert found not in (".", "..")
    assert names.segment(found) == found


@pytest.mark.parametrize("text", ["/a", "../a", "a/../b", "a//b", "./a", "", "a/"])
def test_a_path_stays_below(text: str) -> None:
    assert names.path(text) is None


def test_a_path_gets_its_extension() -> None:
    assert names.path("de/steam") == "de/steam.mp4"
    assert names.path("de/steam.MP4") == "de/steam.mp4"
