"""Pictures of a request: an address that the service opens, or a file of ours."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from batchgen.findings import Mistake
from batchgen.images import Album, BadImage
from batchgen.models import Model
from batchgen.patterns import pattern
from batchgen.spelling import near

Step = tuple[str | int, ...]
FolderOf = Callable[[str], Path]
"""From a field's name to the folder of the file in which its value was written."""

FIELDS = frozenset({"image", "end_image", "images"})
_SCHEME = pattern(r"[A-Za-z][A-Za-z0-9+.-]+:")


class Hanging:
    """Puts references where the author wrote files.

    A path that went out as it is would be dropped by the service, and charged.

    Attributes:
        files: reference -> absolute path, of the pictures that were found.
        mistakes: why others cannot be sent.
    """

    def __init__(self, model: Model, album: Album, folder_of: FolderOf) -> None:
        self.files: dict[str, str] = {}
        self.mistakes: list[Mistake] = []
        self._model = model
        self._album = album
        self._folder_of = folder_of

    def hung(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields, with references instead of paths."""
        found = dict(fields)
        for name, *more in self._model.media:
            value = fields.get(name)
            if isinstance(value, str) and not more:
                found[name] = self._one(value, (name,))
            elif isinstance(value, list) and more:
                found[name] = [
                    self._one(one, (name, index)) for index, one in enumerate(value)
                ]
        self.mistakes += self._strangers(fields)
        return found

    def _one(self, value: Any, path: Step) -> Any:
        if not isinstance(value, str) or value.startswith("https://"):
            return value
        if _SCHEME.match(value):
            message = "a picture is a file, or an address that begins with https://"
            self.mistakes.append(Mistake(path, "bad-url", message))
            return value
        steps = (str(path[0]), *("*" for _ in path[1:]))
        file = self._folder_of(steps[0]) / value
        try:
            image = self._album.look(file, self._model.media[steps])
        except BadImage as error:
            label = error.label or _meant(file)
            self.mistakes.append(Mistake(path, error.rule, error.message, label))
            return value
        self.files[image.ref] = str(image.path)
        return image.ref

    def _strangers(self, fields: Mapping[str, Any]) -> Iterator[Mistake]:
        """Fields that look like pictures, which this model is not known to take."""
        known = {path[0] for path in self._model.media}
        for name in sorted(FIELDS - known):
            value = fields.get(name)
            items = value if isinstance(value, list) else [value]
            if any(isinstance(i, str) and not i.startswith("https://") for i in items):
                message = f"{self._model.title} is not known to take `{name}`"
                label = "only an https:// address goes out as it is"
                yield Mistake((name,), "bad-url", message, label)


def _meant(file: Path) -> str:
    """A hint at a file of nearly this name."""
    try:
        there = [one.name for one in file.parent.iterdir() if one.is_file()]
    except (OSError, ValueError):
        return ""
    meant = near(file.name, there, cutoff=0.8)
    return f"did you mean `{meant}`?" if meant else ""
