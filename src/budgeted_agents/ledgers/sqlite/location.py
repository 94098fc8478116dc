"""Where a ledger file may be: checked before anything is created."""

from __future__ import annotations

import os
from pathlib import Path

from budgeted_agents.errors import InvalidLedger

NETWORK_FILE_SYSTEMS = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3"}
)
"""SQLite's write-ahead log needs memory shared by all who open the file, which these cannot give across hosts."""


def check_location(path: Path) -> None:
    """A place where a ledger file is, or can be made.

    Raises:
        InvalidLedger: a directory, a missing or closed parent directory, or a network file system.
    """
    if path.is_dir():
        raise refused("is a directory", path, "Name a file in it, e.g. sqlite:///spend.db")
    if not path.parent.is_dir():
        raise refused("its directory does not exist", path, f"Create {path.parent} first, or name another directory")
    writable = os.access(path.parent, os.W_OK | os.X_OK)
    if not writable or (path.exists() and not os.access(path, os.R_OK | os.W_OK)):
        raise refused(
            "this process may not write it",
            path,
            "Give this user read and write access to the file and its directory, or name another place",
        )
    kind = network_file_system(path, mounts())
    if kind:
        raise refused(
            f"is on a network file system ({kind}), where SQLite cannot keep concurrent writers apart",
            path,
            "Put the file on a local disk",
        )


def network_file_system(path: Path, mounts: str) -> str | None:
    """The kind of the network file system a path is on, by the text of ``/proc/self/mounts``; None if it is local."""
    kinds = {}
    for line in mounts.splitlines():
        _, point, kind = line.split(" ")[:3]
        kinds[Path(point.replace("\\040", " "))] = kind
    resolved = path.resolve()
    kind = next((kinds[folder] for folder in (resolved, *resolved.parents) if folder in kinds), "")
    return kind if kind in NETWORK_FILE_SYSTEMS or kind.startswith("fuse.") else None


def refused(problem: str, path: Path, remedy: str) -> InvalidLedger:
    """The error for a path that cannot be a ledger."""
    return InvalidLedger(problem, field="path", value=str(path), place="open_ledger", remedy=remedy)


def mounts() -> str:
    """Linux only; elsewhere the check cannot be made and is left to the user (see docs/ledgers.md)."""
    try:
        return Path("/proc/self/mounts").read_text()
    except OSError:
        return ""
