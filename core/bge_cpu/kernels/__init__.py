"""Part of step 3: the native kernels, a C library without Python ABI that is loaded with ctypes.

`library.py` finds it and says which kernels this CPU runs, `pack.py` lays matrices out for them, `model.py` hands them
a model and its runs. The C side is in `native/`, and begins with `native/bge.h`.
"""

from bge_cpu.kernels.library import Kernels, Library, available, library
from bge_cpu.kernels.model import Model, Scratch, Sizes, Team, expected
from bge_cpu.kernels.pack import CLASSES, MatrixClass, Packed, pack_matrix, pack_rows

__all__ = [
    "CLASSES",
    "Kernels",
    "Library",
    "MatrixClass",
    "Model",
    "Packed",
    "Scratch",
    "Sizes",
    "Team",
    "available",
    "expected",
    "library",
    "pack_matrix",
    "pack_rows",
]
