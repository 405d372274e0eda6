"""What may be asked of the API and what it costs: one data file per model."""

from batchgen.models.entries import (
    DEFAULT_MODEL,
    ELEMENTS_MODEL,
    Catalog,
    catalog,
    read,
)
from batchgen.models.model import Edition, Model, Price
from batchgen.models.vendor import published

__all__ = [
    "DEFAULT_MODEL",
    "ELEMENTS_MODEL",
    "Catalog",
    "Edition",
    "Model",
    "Price",
    "catalog",
    "published",
    "read",
]
