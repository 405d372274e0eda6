"""`batchgen init`: a manifest to start from, a sheet, and the schema for the editor."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from batchgen import names, schema
from batchgen.cli import exits
from batchgen.errors import StoreError, UsageError
from batchgen.models import catalog

MANIFEST = "campaign.yaml"
SHEET = "products.csv"

_CAMPAIGN = """\
# yaml-language-server: $schema=./{schema}
# Two products in two formats: four clips. `batchgen plan` shows what they cost.
name: {name}
budget: 10              # US dollars, for the whole life of this run

settings:               # request fields every clip starts from
  duration: 5           # seconds, 3 to 15
  negative_prompt: blurry, warped lettering, watermark

prompt: >-
  A {{{{ product.material }}}} {{{{ product.kind }}}}, {{{{ product.look }}}}, on a
  wooden table by a rain-streaked window. Slow dolly in, natural light.

matrix:                 # one clip for each combination
  product: {{ from: {sheet}, id: sku }}
  aspect_ratio: [9:16, 16:9]

overrides:              # patches for some of them; later ones win
  - when: {{ product: TMB-02 }}
    set: {{ sound: true }}

# exclude:              # combinations to leave out
#   - {{ product: TMB-*, aspect_ratio: 16:9 }}
"""
_PRODUCTS = """\
sku,kind,material,look
MUG-01,mug,stone-glaze ceramic,speckled like a river pebble
TMB-02,tumbler,brushed steel,with a soft evening reflection
"""


def init(*, folder: Path, as_json: bool, quiet: bool, verbose: bool) -> int:
    """Write the files, or none of them if one is there already."""
    del verbose  # it says all there is
    texts = {
        folder / MANIFEST: _CAMPAIGN.format(
            schema=schema.NAME, sheet=SHEET, name=_name(folder)
        ),
        folder / SHEET: _PRODUCTS,
        folder / schema.NAME: schema.text(catalog()),
    }
    _refuse([path for path in (folder, *texts) if _is_in_the_way(path, folder)])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror}") from error
    if as_json:
        exits.answer("init", 0, "done", files=[str(path) for path in texts])
    elif not quiet:
        click.echo(_next(list(texts)))
    return 0


def _name(folder: Path) -> str:
    return names.folder(folder.resolve().name) or "campaign"


def _is_in_the_way(path: Path, folder: Path) -> bool:
    if path == folder:
        return path.exists() and not path.is_dir()
    return path.exists() or path.is_symlink()


def _refuse(taken: Sequence[Path]) -> None:
    if taken:
        listed = ", ".join(map(str, taken))
        raise UsageError(
            f"nothing was written, because this is there already: {listed}",
            rule="in-the-way",
            advice="Choose another folder: batchgen init DIR",
        )


def _next(paths: Sequence[Path]) -> str:
    wrote = "\n".join(f"  {path}" for path in paths)
    manifest = shlex.quote(str(paths[0]))
    return (
        f"Wrote\n{wrote}\n"
        "Next\n"
        f"  batchgen plan {manifest}\n"
        f"  batchgen run {manifest} --sandbox"
    )
