"""Regular expressions that are compiled when they are first used.

Compiling all that batchgen knows took a sixth of a small plan, which uses a few.
"""

import re
from typing import Any, AnyStr, cast


class _Pattern:
    """Stands in for a compiled pattern; after its first use it is as quick."""

    def __init__(self, text: str | bytes, flags: int) -> None:
        self._text, self._flags = text, flags

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        compiled = re.compile(self._text, self._flags)
        found = [each for each in dir(compiled) if not each.startswith("_")]
        self.__dict__.update({each: getattr(compiled, each) for each in found})
        return getattr(compiled, name)


def pattern(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """As `re.compile`, later: for a module's constants, not for `re`'s functions."""
    return cast("re.Pattern[AnyStr]", _Pattern(text, flags))
