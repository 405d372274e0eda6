"""`batchgen schema`: the manifest language as a JSON Schema."""

import click

from batchgen import schema as language
from batchgen.models import catalog


def schema() -> int:
    """Print it."""
    click.echo(language.text(catalog()), nl=False)
    return 0
