"""Whoever may read or write a cache of artifacts may read, or lock, what lies in it."""

import os
import stat
from pathlib import Path


def share(path: Path) -> None:
    """Let those read a file or folder of ours who may read the folder that it lies in, whatever the umask is."""
    above = stat.S_IMODE(path.parent.stat().st_mode)
    os.chmod(path, 0o700 | (above & 0o055) if path.is_dir() else 0o600 | (above & 0o044))


def lock_mode(lock: Path) -> int:
    """The mode of a lock file: those may lock who may write the folder that it lies in."""
    return 0o600 | (stat.S_IMODE(lock.parent.stat().st_mode) & 0o022) * 3
