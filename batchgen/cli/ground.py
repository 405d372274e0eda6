"""What a purchase stands on: a cap, folders that are folders, room on the disk."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from batchgen import places
from batchgen.cli import split
from batchgen.cli.order import Order, cap_of
from batchgen.errors import StoreError, UsageError
from batchgen.money import Micros, dollars, round_up
from batchgen.names import FLAGGED, PREVIOUS
from batchgen.profile import profile_for
from batchgen.world import World

_ON_THEIR_WAY = 8 * 15
"""Seconds of video that are on this disk at once, where clips go to a bucket."""


def cap(
    order: Order,
    budget: Micros | None,
    ceiling: Micros | None,
    committed: Micros,
    tell: Callable[[str], None],
) -> Micros | None:
    """What this run, or this shard of it, may commit in its life; None in a sandbox.

    Args:
        order: what is to be bought.
        budget: of the command line.
        ceiling: of the environment.
        committed: by the sessions of before.
        tell: for what one should know, and need not.

    Raises:
        UsageError: real money, and no cap.
    """
    shard, cost = order.flags.shard, order.plan.cost
    found, life = cap_of(order.manifest, budget, ceiling), committed + cost
    if found is None and order.live:
        # Also with nothing new to buy: a retry may buy, and the cap is for life.
        dearest = max([life, *order.loads])
        enough = round_up(dearest * (shard.count if shard else 1))
        raise UsageError(
            "a live run needs a spending cap",
            rule="no-budget",
            advice=f"this plan costs {dollars(cost)}. Add `budget: {enough}` to "
            f"the manifest or pass --budget {enough}.",
        )
    if found is None or shard is None:
        return found
    if cost and (short := split.short_of(shard, found, order.loads, life)):
        tell(f"warning: {short}")
    return shard.part(found)


def check_folders(order: Order, world: World) -> None:
    """A clip is not written through a link: better known before it is bought."""
    videos = order.folder / "videos"
    links = [path.relative_to(videos) for path in world.disk.links(videos)]
    if not links:
        return
    for folder in {PurePosixPath(task.output).parent for task in order.tasks()}:
        for link in links:
            top, *rest = link.parts
            apart = top in (FLAGGED, PREVIOUS)
            below = PurePosixPath(*rest) if apart else PurePosixPath(link)
            if folder.is_relative_to(below):
                raise StoreError(
                    f"{videos / link} is a link; no clip is written through one",
                    rule="link",
                    advice="Nothing was submitted. Put a folder in its place.",
                )


def check_disk(order: Order, world: World, *, bucket: bool) -> None:
    """A night that ends on a full disk is checked for in the evening."""
    folder, profile = order.folder, profile_for(live=order.live)
    if order.live and order.flags.shard and order.plan.buys:
        # Schedulers replace what they run; a person knows where a container ends.
        places.check_lasting(folder, world.disk)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        raise unwritable(folder, f"{existing} does not take files")
    free = shutil.disk_usage(existing).free
    seconds = order.plan.seconds
    if bucket:
        seconds = min(seconds, _ON_THEIR_WAY)  # the rest is in the bucket by then
    need = seconds * profile.bytes_per_second
    if free < need:
        raise StoreError(
            f"{free / 1e9:.1f} GB are free in {existing}, the plan may need "
            f"{need / 1e9:.1f} GB",
            rule="no-space",
            advice="Nothing was submitted. Make room, or buy a part with --limit.",
        )


def unwritable(folder: Path, why: str | None) -> StoreError:
    """What is said of a folder that takes no files."""
    return StoreError(
        f"cannot write {folder}: {why}",
        advice="Nothing was submitted. Give write access, or set BATCHGEN_OUTPUTS to "
        "another folder.",
    )
