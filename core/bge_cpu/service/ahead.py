"""Imported by the process that workers are forked from: what all of them need is then in memory once.

That is Python's modules and the tokenizer, whose file the supervisor names in the environment; weights are shared
through the page cache anyway. Nothing here may start a thread: a fork would leave it behind.
"""

import contextlib
import os
from pathlib import Path

from bge_cpu.errors import BgeCpuError
from bge_cpu.service import resident  # noqa: F401  for its modules
from bge_cpu.service.settings import AHEAD
from bge_cpu.tokenizer import read_ahead

if named := os.environ.get(AHEAD):
    with contextlib.suppress(BgeCpuError, OSError):  # a worker meets the same, and says so
        read_ahead(Path(named))
