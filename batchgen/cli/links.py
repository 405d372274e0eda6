"""How a page links to clips that are objects in a bucket."""

from datetime import timedelta

from batchgen import locations
from batchgen.errors import StoreError, UsageError
from batchgen.objects import ObjectStore
from batchgen.state import Status
from batchgen.tally import Tally
from batchgen.world import World, iso


def links_of(tally: Tally, world: World) -> tuple[dict[tuple[str, str], str], str, str]:
    """How a page links to objects, until when, and why it does not, if so.

    Returns:
        (store, name) -> link; the moment the links end, empty for public ones; a
        sentence for a person, empty if all is well.
    """
    names: dict[str, list[str]] = {}
    for state in tally.states.values():
        for file in state.files if state.status is Status.DONE else ():
            if file.store:
                names.setdefault(file.store, []).append(file.name)
    wish = tally.session.links if tally.session else ""
    seconds = locations.life(wish)
    found: dict[tuple[str, str], str] = {}
    trouble = ""
    for url, those in names.items():
        try:
            made = (
                ObjectStore(url, world).signed(those, seconds)
                if seconds
                else [locations.address(url, name, wish) for name in those]
            )
        except (StoreError, UsageError) as error:
            trouble = f"the report has no links to the clips: {error.message}"
            continue
        found |= {(url, name): link for name, link in zip(those, made, strict=True)}
    until = ""
    if found and seconds:
        until = iso(world.now() + timedelta(seconds=seconds))
    return found, until, trouble
