"""The control groups of this process, cgroup v2 and v1, as far as they can be seen from inside."""

from collections.abc import Iterator
from pathlib import Path


def cgroups(controller: str, root: Path = Path("/")) -> Iterator[Path]:
    """The folders of the groups that may limit a controller ("cpu", "memory"), from this process's own upwards.

    Args:
        controller: Its name in cgroup v1; v2 has one hierarchy for all.
        root: Where /proc and /sys lie.
    """
    try:
        memberships = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for membership in memberships:
        _, controllers, path = membership.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / controllers
        group = mount / path.lstrip("/")
        while True:
            yield group
            if group == mount or mount not in group.parents:
                break
            group = group.parent
