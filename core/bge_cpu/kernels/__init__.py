"""Part of step 3: the native kernels, a C library without Python ABI that is loaded with ctypes.

`library.py` finds it and says which kernels this CPU runs, `pack.py` lays matrices out for them, `model.py` hands them
a model and its runs. The C side is in `native/`, and begins with `native/bge.h`.
"""

from bge_cpu.kernels.library import Kernels, Library, available, library
from bge_cpu.kernels.model import Model, Scratch, Team, expected
from bge_cpu.kernels.pack import CLASSES, MatrixClass, pack_matrix

__all__ = [
    "CLASSES",
    "Kernels",
    "Library",
    "MatrixClass",
    "Model",
    "Scratch",
    "Team",
    "available",
    "expected",
    "library",
    "pack_matrix",
]
