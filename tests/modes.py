"""Modes as test parameters: what a mode needs and does not find here, its tests are skipped for, with that reason."""

from importlib.util import find_spec

import pytest

from bge_cpu.engines import MODES
from bge_cpu.kernels.library import available
from bge_cpu.machine.cpu import NATIVE_BF16, features

needs_torch = pytest.mark.skipif(
    find_spec("torch") is None or find_spec("transformers") is None, reason="needs the extra torch"
)
"""For tests that run a mode of PyTorch; those that import it themselves begin with `pytest.importorskip`."""

needs_bf16 = pytest.mark.skipif(not features() & NATIVE_BF16, reason="needs native bfloat16")
"""For tests that run mode "bf16"."""


needs_kernels = pytest.mark.skipif(available() is None, reason="needs the native kernels, and a CPU that runs them")
"""For tests that run mode "native-int8"."""


def params(*modes: str) -> list[object]:
    """The modes' names, for `pytest.mark.parametrize` and fixtures; each one's id is its name."""
    return [pytest.param(mode, marks=_marks(mode), id=mode) for mode in modes]


def _marks(mode: str) -> list[pytest.MarkDecorator]:
    torch = [needs_torch, pytest.mark.slow] if MODES[mode] == "torch" else []  # slow: PyTorch's import alone takes long
    return torch + {"bf16": [needs_bf16], "native-int8": [needs_kernels]}.get(mode, [])
