"""The shared library: where it lies, what was compiled into it, and what this CPU runs of that."""

import ctypes
import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bge_cpu.errors import MissingDependencyError

FILE = Path(__file__).with_name("_bge_kernels" + {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so"))
"""Where a wheel or an editable install puts the library."""


class Class(ctypes.Structure):
    """`bge_class`: how codes of a matrix lie in memory."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("panel", ctypes.c_int32),
        ("group", ctypes.c_int32),
        ("weight_limit", ctypes.c_int32),
        ("low", ctypes.c_int32),
        ("span", ctypes.c_int32),
    )


class Matrix(ctypes.Structure):
    """`bge_matrix`."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in ("codes", "multipliers", "sums", "scales", "bias"))


class Layer(ctypes.Structure):
    """`bge_layer`."""

    _fields_ = (
        *((name, Matrix) for name in ("query", "key", "value", "output", "wide", "narrow")),
        *((name, ctypes.c_void_p) for name in ("attention_norm", "attention_norm_bias", "norm", "norm_bias")),
    )


class ModelStruct(ctypes.Structure):
    """`bge_model`."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("hidden", "layers", "heads", "intermediate")),
        *((name, ctypes.c_int32) for name in ("vocabulary", "positions", "types")),
        ("epsilon", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in ("words", "word_scales", "position_table", "type_table")),
        *((name, ctypes.c_void_p) for name in ("norm", "norm_bias")),
        ("layer", ctypes.POINTER(Layer)),
        *((name, ctypes.c_void_p) for name in ("head", "head_bias", "label", "label_bias")),
    )


class Run(ctypes.Structure):
    """`bge_run`."""

    _fields_ = (
        ("pairs", ctypes.c_int32),
        *((name, ctypes.c_void_p) for name in ("input_ids", "token_type_ids", "position_ids", "cu_seqlens")),
    )


class Product(ctypes.Structure):
    """`bge_product`."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("codes", "scales", "zeros")),
        *((name, ctypes.c_int32) for name in ("inputs", "outputs")),
        ("matrix", Matrix),
        *((name, ctypes.c_void_p) for name in ("out", "residual")),
        ("gelu", ctypes.c_int32),
    )


class Attention(ctypes.Structure):
    """`bge_attention`."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("query", "key", "value", "out")),
        ("width", ctypes.c_int64),
        *((name, ctypes.c_int32) for name in ("queries", "tokens", "size")),
    )


_P, _I, _N = ctypes.c_void_p, ctypes.c_int32, None
_SIGNATURES: Mapping[str, tuple[object, ...]] = {  # result, arguments
    "bge_kernels_at": (_P, ctypes.c_int),
    "bge_kernels_named": (_P, ctypes.c_char_p),
    "bge_kernels_name": (ctypes.c_char_p, _P),
    "bge_kernels_run_here": (ctypes.c_int, _P),
    "bge_kernels_class": (ctypes.POINTER(Class), _P),
    "bge_class_named": (_P, ctypes.c_char_p),
    "bge_scratch_new": (_P,),
    "bge_scratch_free": (_N, _P),
    "bge_scratch_bytes": (ctypes.c_int64, _P),
    "bge_forward": (ctypes.c_int, _P, _P, ctypes.POINTER(ModelStruct), ctypes.POINTER(Run), _P, _P, _P, _P),
    "bge_team_new": (_P,),
    "bge_team_free": (_N, _P),
    "bge_team_begin": (_N, _P),
    "bge_team_end": (_N, _P),
    "bge_team_recalls": (ctypes.c_uint32, _P),
    "bge_team_recall": (_N, _P),
    "bge_help": (ctypes.c_int64, _P, _P, ctypes.c_uint32),
    "bge_quantize": (_N, _P, _P, _P, _I, _P, _P, _P),
    "bge_norm": (_N, _P, _P, _P, _P, ctypes.c_float, _I, _P),
    "bge_multiply": (_N, _P, _P, ctypes.POINTER(Product), _I),
    "bge_attend": (ctypes.c_int, _P, ctypes.POINTER(Attention), _I, _P),
    "bge_peak": (ctypes.c_int64, _P, ctypes.c_int, ctypes.c_int64),
}


@dataclass(frozen=True)
class Kernels:
    """One kernel file.

    Attributes:
        name: Its name: "avx512bf16", "avx512vnni", "avxvnni", "avx2", "neon" or "serial".
        kind: The class of matrices it reads; "serial", the slow reference, reads all of them and says "".
        run_here: Whether this CPU has its instructions.
        address: Of its `bge_kernels`.
    """

    name: str
    kind: str
    run_here: bool
    address: int


class Library:
    """The shared library.

    Args:
        file: Where it lies.

    Raises:
        MissingDependencyError: It is not there, or cannot be loaded.
    """

    def __init__(self, file: Path = FILE) -> None:
        try:
            self.c = ctypes.CDLL(str(file))
        except OSError as error:
            raise MissingDependencyError(
                f"the native kernels cannot be loaded: {error}",
                hint='install a wheel for this platform, or build one with a C compiler; or use mode="onnx-int8"',
            ) from error
        for name, (result, *arguments) in _SIGNATURES.items():
            function = getattr(self.c, name)
            function.restype, function.argtypes = result, arguments

    def kernels(self) -> list[Kernels]:
        """What was compiled in, fastest first, "serial" last."""
        found: list[Kernels] = []
        while address := self.c.bge_kernels_at(len(found)):
            kind = self.c.bge_kernels_class(address)
            found.append(
                Kernels(
                    name=self.c.bge_kernels_name(address).decode(),
                    kind=kind.contents.name.decode() if kind else "",
                    run_here=bool(self.c.bge_kernels_run_here(address)),
                    address=address,
                )
            )
        return found

    def named(self, name: str) -> Kernels | None:
        """The kernels of that name, if they were compiled in."""
        return next((kernels for kernels in self.kernels() if kernels.name == name), None)

    def best(self) -> Kernels | None:
        """The fastest kernels that this CPU runs; None where there is nothing but the reference."""
        return next((kernels for kernels in self.kernels() if kernels.run_here and kernels.kind), None)


@functools.cache
def library() -> Library:
    """The library that was installed with the package.

    Raises:
        MissingDependencyError: It is not there, or cannot be loaded.
    """
    return Library()


def available() -> Kernels | None:
    """The kernels that run on this CPU; None without a library, or where it has none for this CPU."""
    try:
        return library().best()
    except MissingDependencyError:
        return None
