"""Any bytes at all: a finding or a manifest, and never more than a moment."""

import random
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import goldens
import pytest

from batchgen.findings import as_json, render

SEED = 20_270_401
WORDS = """
prompts: prompt: matrix: exclude: overrides: include: settings: vars: budget: name:
when: set: from: id: takes: labels: output: retry: model: multi_prompt: duration:
- [ ] { } ' " | > >- & * ! % @ ` # , : ? ~ << <<: *a &a !!python/object: --- ... {{ }}
{% %} {{x}} {{hook.scene}} ${ ${X} ${X:-1} $${ true false null 5 0.5 1e999 9:16 -1 007
茶 静かな朝 \ufeff \u2028 \x85 \x01 \u202e 🌸 fox sep=; ;;; ,,, ||| #REF! <empty> 4,5
"a,b" [“1”] 16.Sep \\ud800 \\u0000 NaN [[[[[[[[ ]]]]]]]] {{{{ }}}} scene_1
"""
PIECES = [
    *WORDS.split(),
    " ",
    "  ",
    "\n",
    "\n  ",
    "\n- ",
    "\t",
    "\r\n",
    "\0",
    "x" * 400,
    "\n    ",
]
FORMS = ("yaml", "csv", "jsonl", "json", "tsv")
SEEDS = [
    *(
        path.read_bytes()
        for path in sorted((goldens.FOLDER.parents[1] / "manifests").glob("*.*"))
    ),
    *(path.read_bytes() for path in goldens.goldens("rules")),
]


def files(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Random files and mutated ones, always the same for a seed."""
    chance = random.Random(seed)  # noqa: S311 - the same files each time
    for number in range(count):
        form = FORMS[number % len(FORMS)]
        if number % 2:
            pieces = chance.choices(PIECES, k=chance.randint(1, 60))
            yield form, "".join(pieces).encode("utf-8", "surrogatepass")
        else:
            yield form, mutated(chance, chance.choice(SEEDS)[:4000])


def mutated(chance: random.Random, raw: bytes) -> bytes:
    """A sound file with some bytes cut, doubled, moved, replaced or added."""
    data = bytearray(raw)
    for _ in range(chance.randint(1, 8)):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.choice((0, 1, 1, 2, 5, 40)))
        match chance.randrange(5):
            case 0:
                del data[start:end]
            case 1:
                data[start:start] = data[start:end] * 2
            case 2:
                data[start:end] = bytes(
                    chance.randrange(256) for _ in range(end - start)
                )
            case 3:
                data[start:start] = chance.choice(PIECES).encode("utf-8", "replace")
            case _:
                data[start:start] = chance.choice(PIECES).encode("utf-16")
    return bytes(data)


def survives(folder: Path, form: str, raw: bytes) -> None:
    """Reads, expands and draws; whatever is found, is found in our words."""
    path = folder / f"m.{form}"
    path.write_bytes(raw)
    findings, rows = goldens.found_in(path)
    text = raw.decode("utf-8", "replace")
    drawn = render(findings, {str(path): text}, rows=rows)
    assert drawn or not findings
    for finding in findings:
        assert finding.rule
        assert finding.message
        assert finding.place.line >= 0
        assert finding.place.end >= finding.place.column
        assert as_json(finding)


def test_no_file_breaks_the_language(tmp_path: Path) -> None:
    for form, raw in files(400, SEED):
        survives(tmp_path, form, raw)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_twenty_thousand_files_break_nothing_and_cost_little(tmp_path: Path) -> None:
    slowest = (0.0, b"")
    for form, raw in files(20_000, SEED + 1):
        before = time.process_time()
        survives(tmp_path, form, raw)
        slowest = max(slowest, (time.process_time() - before, raw))
    assert slowest[0] < 2.0, slowest
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert peak < 300 * 1024


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("yaml", "a: " + "[" * 100_000),
        ("yaml", "prompts: [" + "x, " * 100_000 + "]"),
        ("yaml", "prompts:\n" + "- &a x\n" * 5_000 + "- *a\n" * 5_000),
        ("yaml", "prompt: '" + "{{ x }}" * 20_000 + "'"),
        ("yaml", "prompt: " + "{" * 50_000),
        ("yaml", "a: ${" * 20_000),
        ("yaml", "prompt: a: b\n" + "from: " * 50_000),
        ("yaml", "takes: 20\nprompt: a\nmatrix:\n" + "".join(
            f"  a{n}: [{', '.join(map(str, range(100)))}]\n" for n in range(9)
        )),
        ("json", "[" * 100_000),
        ("json", '{"a":' * 100_000),
        ("jsonl", "[" * 100_000),
        ("jsonl", '{"prompt": "' + "x" * 500_000 + '"}'),
        ("csv", "prompt" + ",x" * 50_000 + "\n" + ",y" * 50_000),
        ("csv", 'id,prompt\na,"' + 'x""' * 100_000),
        ("csv", "id,prompt\n" + "a,#REF!\n" * 5_000),
    ],
)  # fmt: skip
def test_what_is_built_to_explode_does_not(
    tmp_path: Path, form: str, text: str
) -> None:
    survives(tmp_path, form, text.encode())
