"""Part of step 3: the native kernels, a C library without Python ABI that is loaded with ctypes.

`library.py` finds it and says which kernels this CPU runs, `pack.py` lays matrices out for them, `model.py` hands them
a model and its runs. The C side is in `native/`, and begins with `native/bge.h`.
"""
