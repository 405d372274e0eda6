"""What a scenario buys: clips, clips of a picture, and an element that others show."""

from hashlib import sha256
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from batchgen.models import ELEMENTS_MODEL, catalog
from batchgen.tasks import Task

from .provider import PRICE

MODEL = "kwaivgi/kling-v3.0-4k/text-to-video"
PICTURED = "kwaivgi/kling-v3.0-4k/image-to-video"


def task_of(prompt: int, take: int) -> Task:
    """One clip; takes of one prompt have equal bodies."""
    body = {"prompt": f"boat {prompt}", "duration": 3}
    return _task(MODEL, body, f"boat-{prompt}-{take}", take)


def picture(folder: Path, number: int) -> tuple[str, str]:
    """A picture on disk: its reference and where it is."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{number}.png"
    data = b"\x89PNG\r\n\x1a\n" + bytes([number]) * 40
    path.write_bytes(data)
    return f"sha256:{sha256(data).hexdigest()}", str(path)


def pictured(folder: Path) -> list[Task]:
    """Two clips of one picture, and one of another."""
    found: list[Task] = []
    for number in (0, 0, 1):
        ref, path = picture(folder, number)
        body = {"prompt": f"sail {len(found)}", "duration": 3, "image": ref}
        task = _task(PICTURED, body, f"sail-{len(found)}", 1)
        found.append(replace(task, files={ref: path}))
    return found


def with_element(folder: Path) -> list[Task]:
    """An element, and two clips that show it."""
    ref, path = picture(folder, 2)
    body = {
        "name": "Lamp",
        "description": "A lamp",
        "image": ref,
        "element_refer_list": [ref],
    }
    lamp = replace(_task(ELEMENTS_MODEL, body, "element_Lamp", 1), files={ref: path})
    lamp = replace(lamp, output="", seconds=0)
    shown = [{"element_id": lamp.ref}]
    bodies = (
        {"prompt": f"lamp {n}", "duration": 3, "element_list": shown} for n in (1, 2)
    )
    clips = [
        _task(MODEL, body, f"lamp-{n}", 1) for n, body in enumerate(bodies, start=1)
    ]
    return [lamp, *clips]


def _task(model: str, body: dict[str, Any], slug: str, take: int) -> Task:
    entry = catalog().find(model)
    assert entry is not None
    return Task(
        id=entry.identity(body, take)[:32],
        slug=slug,
        model=model,
        input=body,
        take=take,
        price=PRICE,
        seconds=3,
        labels={},
        output=f"{slug}.mp4",
    )
