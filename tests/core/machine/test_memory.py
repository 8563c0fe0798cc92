"""Memory that may be used: cgroup limits from trees as the kernel lays them out."""

from pathlib import Path

import pytest

from bge_cpu.machine.memory import Memory, memory
from tests.machines import GIB, MEMINFO, linux

V2 = {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n"}
V1 = {"proc/self/cgroup": "4:memory:/job\n2:cpu:/\n0::/\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, Memory(8 * GIB, 6 * GIB, False)),
        (V2, Memory(8 * GIB, 6 * GIB, False)),
        (V2 | {"sys/fs/cgroup/a/memory.max": f"{2 * GIB}\n"}, Memory(2 * GIB, 2 * GIB, True)),
        (
            V2
            | {
                "sys/fs/cgroup/a/memory.max": f"{4 * GIB}\n",
                "sys/fs/cgroup/a/memory.current": f"{3 * GIB}\n",
                "sys/fs/cgroup/a/memory.stat": f"anon 5\ninactive_file {GIB}\n",
            },
            Memory(4 * GIB, 2 * GIB, True),
        ),
        (
            V1
            | {
                "sys/fs/cgroup/memory/job/memory.limit_in_bytes": f"{2 * GIB}\n",
                "sys/fs/cgroup/memory/job/memory.usage_in_bytes": f"{GIB}\n",
                "sys/fs/cgroup/memory/job/memory.stat": f"inactive_file 7\ntotal_inactive_file {GIB // 2}\n",
            },
            Memory(2 * GIB, 3 * GIB // 2, True),
        ),
        (V1 | {"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GIB}\n"}, Memory(GIB, GIB, True)),
        (
            V1 | {"sys/fs/cgroup/memory/job/memory.limit_in_bytes": "9223372036854771712\n"},
            Memory(8 * GIB, 6 * GIB, False),
        ),
        ({"proc/meminfo": "nonsense\n"}, None),
    ],
)
def test_memory_and_its_limits(tmp_path: Path, files: dict[str, str], expected: Memory | None) -> None:
    meminfo = MEMINFO.format(total=8 * GIB // 1024, available=6 * GIB // 1024)
    assert memory(linux(tmp_path, files={"proc/meminfo": meminfo} | files)) == expected
