"""A model's tensors -> logits of a run, through the library; and the memory and the helpers of that."""

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bge_cpu.checkpoint.architecture import Architecture
from bge_cpu.errors import ArtifactError, InputError
from bge_cpu.kernels.library import Kernels, Layer, Library, Matrix, ModelStruct, Run
from bge_cpu.kernels.pack import MatrixClass

Tensors = Mapping[str, NDArray[Any]]

_MATRICES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
    "wide": "intermediate.dense",
    "narrow": "output.dense",
}
_MESSAGES = {
    1: "the kernels do not run a model of these sizes or of this class",
    2: "an id, a token type or a position is outside its table, or the pairs' bounds do not rise",
    3: "there is no memory for this run",
}
_CANCELLED = 4


def why_not(architecture: Architecture) -> str | None:
    """Why the kernels do not run a model of these sizes; None if they do."""
    if not (32 <= architecture.hidden <= 4096 and architecture.hidden % 32 == 0):
        return f"a hidden size of {architecture.hidden} is not a multiple of 32 from 32 to 4096"
    if not (32 <= architecture.intermediate <= 16384 and architecture.intermediate % 32 == 0):
        return f"an intermediate size of {architecture.intermediate} is not a multiple of 32 from 32 to 16384"
    if architecture.heads < 1 or architecture.hidden % architecture.heads:
        return f"a hidden size of {architecture.hidden} does not divide by {architecture.heads} heads"
    size = architecture.hidden // architecture.heads
    return None if 8 <= size <= 256 and size % 8 == 0 else f"a head of {size} is not a multiple of 8 from 8 to 256"


def expected(architecture: Architecture, kind: MatrixClass) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The tensors of an artifact: name -> (dtype, shape).

    Names are the checkpoint's; what belongs to codes has theirs and ".scales", ".sums" or ".multipliers".
    """
    hidden, encoder = architecture.hidden, f"{architecture.prefix}.encoder.layer"
    found: dict[str, tuple[str, tuple[int, ...]]] = {}

    def vectors(name: str, size: int) -> None:
        found[f"{name}.weight"] = found[f"{name}.bias"] = ("float32", (size,))

    def matrix(name: str, outputs: int, inputs: int) -> None:
        panels = outputs // kind.panel
        found[f"{name}.weight"] = ("int8", (panels, inputs // 4, kind.panel, 4))
        if kind.group:
            found[f"{name}.weight.multipliers"] = ("int32", (panels, -(-inputs // kind.group), kind.panel))
        found[f"{name}.weight.sums"] = ("int32", (outputs,))
        found[f"{name}.weight.scales"] = ("float32", (outputs,))
        found[f"{name}.bias"] = ("float32", (outputs,))

    embeddings = f"{architecture.prefix}.embeddings"
    found[f"{embeddings}.word_embeddings.weight"] = ("int8", (architecture.vocabulary, hidden))
    found[f"{embeddings}.word_embeddings.weight.scales"] = ("float32", (architecture.vocabulary,))
    found[f"{embeddings}.position_embeddings.weight"] = ("float32", (architecture.positions, hidden))
    found[f"{embeddings}.token_type_embeddings.weight"] = ("float32", (architecture.token_types, hidden))
    vectors(f"{embeddings}.LayerNorm", hidden)
    for number in range(architecture.layers):
        for part, name in _MATRICES.items():
            outputs = architecture.intermediate if part == "wide" else hidden
            matrix(f"{encoder}.{number}.{name}", outputs, architecture.intermediate if part == "narrow" else hidden)
        vectors(f"{encoder}.{number}.attention.output.LayerNorm", hidden)
        vectors(f"{encoder}.{number}.output.LayerNorm", hidden)
    dense, label = architecture.head
    found[f"{dense}.weight"], found[f"{dense}.bias"] = ("float32", (hidden, hidden)), ("float32", (hidden,))
    found[f"{label}.weight"], found[f"{label}.bias"] = ("float32", (1, hidden)), ("float32", (1,))
    return found


class Scratch:
    """One thread's memory; it grows to the longest run seen, and no further."""

    def __init__(self, library: Library) -> None:
        self._c = library.c
        self.address: int = self._c.bge_scratch_new()
        if not self.address:
            raise MemoryError("no memory for the kernels' scratch")

    def __del__(self) -> None:
        if address := getattr(self, "address", None):
            self._c.bge_scratch_free(address)

    @property
    def bytes(self) -> int:
        """How much it holds."""
        return int(self._c.bge_scratch_bytes(self.address))


class Team:
    """Idle threads that help the runs given to `Model.logits` with the same team."""

    def __init__(self, library: Library) -> None:
        self._c = library.c
        self.address: int = self._c.bge_team_new()
        if not self.address:
            raise MemoryError("no memory for the kernels' team")

    def __del__(self) -> None:
        if address := getattr(self, "address", None):
            self._c.bge_team_free(address)

    def begin(self) -> None:
        """A run is about to begin: helpers stay for it until `end`."""
        self._c.bge_team_begin(self.address)

    def end(self) -> None:
        """That run is over."""
        self._c.bge_team_end(self.address)

    @property
    def recalls(self) -> int:
        """How often the helpers were called back so far; a thread that is idle reads it and passes it to `help`."""
        return int(self._c.bge_team_recalls(self.address))

    def help(self, scratch: Scratch, recalls: int) -> int:
        """Do parts of others' runs until no run is under way, or until `recall` after `recalls` was read.

        Returns:
            How many parts were done.
        """
        return int(self._c.bge_help(self.address, scratch.address, recalls))

    def recall(self) -> None:
        """Call all helpers back; each comes when the part it is at is done."""
        self._c.bge_team_recall(self.address)


class Model:
    """A model as the kernels see it: pointers into arrays, which it keeps alive and never copies.

    Args:
        library: Whose kernels run it.
        kind: The class its matrices were packed for.
        architecture: Its architecture.
        tensors: By the names of `expected`, C-contiguous, of exactly its dtypes and shapes.

    Raises:
        ArtifactError: A tensor is missing or another than expected, or the kernels do not run these sizes.
    """

    def __init__(self, library: Library, kind: MatrixClass, architecture: Architecture, tensors: Tensors) -> None:
        if reason := why_not(architecture):
            raise ArtifactError(f"the native kernels do not run this model: {reason}", hint='use mode="onnx-int8"')
        self._c, self.architecture, self.kind = library.c, architecture, kind
        self._class: int = self._c.bge_class_named(kind.name.encode())
        self._kept: dict[str, NDArray[Any]] = {}
        for name, (dtype, shape) in expected(architecture, kind).items():
            if name not in tensors:
                raise ArtifactError(f"the artifact has no tensor {name}", hint="build it again")
            tensor = tensors[name]
            if tensor.dtype != dtype or tensor.shape != shape or not tensor.flags.c_contiguous:
                raise ArtifactError(
                    f"tensor {name} is {tensor.dtype} {tensor.shape}, not {dtype} {shape}", hint="build it again"
                )
            self._kept[name] = tensor
        embeddings, encoder = f"{architecture.prefix}.embeddings", f"{architecture.prefix}.encoder.layer"
        self._layers = (Layer * architecture.layers)(
            *(self._layer(f"{encoder}.{i}") for i in range(architecture.layers))
        )
        dense, label = architecture.head
        self._struct = ModelStruct(
            hidden=architecture.hidden,
            layers=architecture.layers,
            heads=architecture.heads,
            intermediate=architecture.intermediate,
            vocabulary=architecture.vocabulary,
            positions=architecture.positions,
            types=architecture.token_types,
            epsilon=architecture.epsilon,
            words=self._at(f"{embeddings}.word_embeddings.weight"),
            word_scales=self._at(f"{embeddings}.word_embeddings.weight.scales"),
            position_table=self._at(f"{embeddings}.position_embeddings.weight"),
            type_table=self._at(f"{embeddings}.token_type_embeddings.weight"),
            norm=self._at(f"{embeddings}.LayerNorm.weight"),
            norm_bias=self._at(f"{embeddings}.LayerNorm.bias"),
            layer=self._layers,
            head=self._at(f"{dense}.weight"),
            head_bias=self._at(f"{dense}.bias"),
            label=self._at(f"{label}.weight"),
            label_bias=self._at(f"{label}.bias"),
        )

    def _at(self, name: str) -> int:
        return self._kept[name].ctypes.data

    def _layer(self, name: str) -> Layer:
        matrices = {
            part: Matrix(
                self._at(f"{name}.{matrix}.weight"),
                self._at(f"{name}.{matrix}.weight.multipliers") if self.kind.group else None,
                self._at(f"{name}.{matrix}.weight.sums"),
                self._at(f"{name}.{matrix}.weight.scales"),
                self._at(f"{name}.{matrix}.bias"),
            )
            for part, matrix in _MATRICES.items()
        }
        return Layer(
            **matrices,
            attention_norm=self._at(f"{name}.attention.output.LayerNorm.weight"),
            attention_norm_bias=self._at(f"{name}.attention.output.LayerNorm.bias"),
            norm=self._at(f"{name}.output.LayerNorm.weight"),
            norm_bias=self._at(f"{name}.output.LayerNorm.bias"),
        )

    def logits(
        self,
        kernels: Kernels,
        run: Sequence[NDArray[np.int32]],
        scratch: Scratch,
        *,
        team: Team | None = None,
        cancel: "ctypes.c_int32 | None" = None,
    ) -> NDArray[np.float32] | None:
        """The logits of a run of packed pairs, float32, (pairs,); None if it was cancelled.

        Args:
            kernels: Of the model's class, and such that run on this CPU.
            run: input_ids, token_type_ids, position_ids, int32, (tokens,) each, and cu_seqlens, int32, (pairs+1,).
            scratch: This thread's.
            team: Whose idle threads may help.
            cancel: Not zero: stop at the next layer.

        Raises:
            InputError: Something in `run` does not fit the tables or itself; nothing was scored.
            MemoryError: There is no memory for this run.
        """
        arrays = [np.ascontiguousarray(part, np.int32) for part in run]
        ids, types, positions, bounds = arrays
        if not (bounds.ndim == 1 and len(bounds) > 1 and ids.shape == types.shape == positions.shape == (bounds[-1],)):
            raise InputError(f"a run's arrays do not fit each other: {[part.shape for part in arrays]}")
        logits = np.empty(len(bounds) - 1, np.float32)
        error = self._c.bge_forward(
            kernels.address,
            self._class,
            self._struct,
            Run(len(logits), *(part.ctypes.data for part in arrays)),
            scratch.address,
            team.address if team else None,
            ctypes.addressof(cancel) if cancel is not None else None,
            logits.ctypes.data,
        )
        if error == _CANCELLED:
            return None
        if error == 1:
            raise ArtifactError(f"{_MESSAGES[1]}: {kernels.name} reads {kernels.kind!r}, the model is {self.kind.name}")
        if error == 2:
            raise InputError(_MESSAGES[2])
        if error:
            raise MemoryError(_MESSAGES.get(error, f"error {error} of the native kernels"))
        return logits
