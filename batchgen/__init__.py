"""Many paid clips, overnight, without fear."""

__version__ = "0.1.0"

__all__ = ["__version__"]
