"""Where state may live: on this machine, in a folder that is ours alone to change."""

import os
import re
from pathlib import Path

from batchgen.disk import Disk
from batchgen.errors import StoreError
from batchgen.patterns import pattern

_REMOTE = pattern(r"nfs\d?|cifs|smb\d?|smbfs|fuse\.(sshfs|smbnetfs)")
_PASSING = pattern(r"(fuse\.)?(fuse-)?overlay(fs)?|aufs|tmpfs|ramfs")
_OF_A_POD = "/volumes/kubernetes.io~empty-dir/"
_OTHERS_WRITE, _STICKY = 0o002, 0o1000


def check(folder: Path, disk: Disk) -> None:
    """Refuse a folder in which somebody else could change what is bought.

    Raises:
        StoreError: the folder, which exists, or that of its clips, is a link; it is
            another user's or open to everybody's writing, or on a network mount.
    """
    entry = disk.find(folder)
    if entry is None or entry.kind != "folder":
        raise _refused(f"{folder} is not a folder but a link or a file", "not-a-folder")
    clips = disk.find(folder / "videos")
    if clips is not None and clips.kind != "folder":
        # Found out now, and not when the first clip is paid.
        why = f"{folder / 'videos'} is not a folder but a link or a file"
        raise _refused(why, "not-a-folder")
    if entry.owner != os.geteuid():
        raise _refused(f"{folder} belongs to another user", "foreign-folder")
    for one in (folder, folder.parent):
        there = disk.find(one)
        if there is not None and _open_to_all(there.mode) and there.kind == "folder":
            raise _refused(f"everybody may write to {one}", "open-folder", one)
    kind = mount_kind(disk.mounts(), folder.absolute())
    if _REMOTE.fullmatch(kind):
        raise StoreError(
            f"{folder} is on a network mount ({kind}), where locks do not hold",
            rule="network-mount",
            advice="Nothing was submitted. Set BATCHGEN_OUTPUTS to a local folder.",
        )


def check_lasting(folder: Path, disk: Disk) -> None:
    """Refuse a folder that goes when its container or machine goes.

    Another one takes its place, finds nothing that was bought, and buys it again.

    Raises:
        StoreError: it lies in a container's own layer, in memory, or in a volume that
            belongs to one pod. It need not exist.
    """
    path = folder.resolve()
    kind = mount_kind(disk.mounts(), path)
    if _PASSING.fullmatch(kind):
        what = f"on {kind}"
    elif _OF_A_POD in mount_origin(disk.origins(), path):
        what = "in a pod's emptyDir"
    else:
        return
    raise StoreError(
        f"{folder} is {what}, which does not outlive this container or machine",
        rule="passing-disk",
        advice="Nothing was submitted. Whatever takes its place would buy everything "
        "again. Set BATCHGEN_OUTPUTS to a folder on a volume that stays.",
    )


def mount_origin(table: str, path: Path) -> str:
    """Which folder of its file system a mount shows; empty if it cannot be told.

    Args:
        table: the text of `/proc/self/mountinfo`.
        path: absolute.
    """
    best, origin = -1, ""
    for line in table.splitlines():
        words = line.split(" ")
        if len(words) < 5:  # noqa: PLR2004 - two numbers, a device, origin, place
            continue
        place = Path(re.sub(r"\\([0-7]{3})", _character, words[4]))
        if path.is_relative_to(place) and len(place.parts) >= best:
            best, origin = len(place.parts), words[3]
    return origin


def mount_kind(table: str, path: Path) -> str:
    """The type of the mount that a path is on, empty if it cannot be told.

    Args:
        table: the text of `/proc/self/mounts`.
        path: absolute.
    """
    best, kind = -1, ""
    for line in table.splitlines():
        words = line.split(" ")
        if len(words) < 3:  # noqa: PLR2004 - device, place, type
            continue
        place = Path(re.sub(r"\\([0-7]{3})", _character, words[1]))
        # Of two mounts on one place the later one is seen.
        if path.is_relative_to(place) and len(place.parts) >= best:
            best, kind = len(place.parts), words[2]
    return kind


def _character(match: "re.Match[str]") -> str:
    return chr(int(match.group(1), 8))


def _open_to_all(mode: int) -> bool:
    return bool(mode & _OTHERS_WRITE) and not mode & _STICKY


def _refused(why: str, rule: str, folder: Path | None = None) -> StoreError:
    mend = f"chmod o-w {folder}, or set" if folder else "Set"
    return StoreError(
        why,
        rule=rule,
        advice=f"Nothing was submitted. {mend} BATCHGEN_OUTPUTS to a folder of your "
        "own.",
    )
