"""Part of loading: safetensors files -> named arrays, as views of the mapped files wherever possible; and back."""

import contextlib
import json
import mmap
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from bge_cpu.checkpoint.files import check_file
from bge_cpu.errors import ArtifactError, CheckpointError

_STORED_AS = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16, "I8": np.int8, "I32": np.int32}
_DTYPES = {np.dtype(np.int8): "I8", np.dtype(np.int32): "I32", np.dtype(np.float32): "F32"}
_PAGE = 4096  # bytes; the data begins on a page
_STRIP = 1 << 20  # bytes; half a huge page
_ENTRY_BYTES = 256  # reserved for a tensor in the header, so that data can be written before the header is known

FLOATS = ("F32", "F16", "BF16")
"""What floating-point tensors may be stored as, in safetensors' words."""

Tensors = Iterable[tuple[str, NDArray[Any]]]
"""Names and values."""

OTHER_TENSORS = (
    "config.json and weights do not belong together, or the model needs code of its own (auto_map), which is never run"
)
"""The hint where tensors are missing."""

Tensor = tuple[str, tuple[int, ...], bool]
"""What a model wants: a tensor's name, its shape, and whether it holds INT8 codes in place of floats."""


def header_bytes(file: Path) -> bytes:
    """A safetensors file's header: JSON of tensor name -> dtype, shape, data_offsets.

    The file is first checked by the safetensors library: a sound header, offsets within the file, no gaps.

    Raises:
        CheckpointError: The file cannot be read or is not a whole safetensors file.
    """
    check_file(file)
    try:
        with safe_open(file, framework="numpy"):
            pass
        with file.open("rb") as stream:
            return stream.read(int.from_bytes(stream.read(8), "little"))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{file} is not a whole safetensors file: {error}", hint="download or copy the file again"
        ) from error


class Weights(Mapping[str, NDArray[Any]]):
    """The tensors of a checkpoint by name, each read when asked for.

    A tensor of float32 or whole numbers is a read-only view of the memory-mapped file: it costs no memory of its own,
    and processes that map the same file share it. A float16 or bfloat16 tensor is upcast into a new array at every
    access. The names that BERT's first checkpoints have for a norm's weight and bias, gamma and beta, are read as
    today's.

    Args:
        files: The checkpoint's safetensors files.

    Raises:
        CheckpointError: A file cannot be read or is not a whole safetensors file.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._entries: dict[str, tuple[mmap.mmap, int, dict[str, Any]]] = {}
        for file in files:
            header = header_bytes(file)
            try:
                with file.open("rb") as stream:
                    mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            except OSError as error:
                raise CheckpointError(f"{file} cannot be mapped: {error.strerror}") from error
            start = 8 + len(header)
            self._entries.update((_renamed(name), (mapped, start, entry)) for name, entry in json.loads(header).items())
        self._entries.pop("__metadata__", None)

    def __getitem__(self, name: str) -> NDArray[Any]:
        mapped, start, entry = self._entries[name]
        stored_as = _STORED_AS.get(entry["dtype"])
        if stored_as is None:
            raise CheckpointError(
                f"tensor {name} is stored as {entry['dtype']}; the ONNX modes read {', '.join(_STORED_AS)}"
            )
        begin, end = entry["data_offsets"]
        stored = np.frombuffer(mapped, dtype=np.uint8, count=end - begin, offset=start + begin)
        if stored.ctypes.data % np.dtype(stored_as).itemsize:
            stored = stored.copy()
        values: NDArray[Any] = stored.view(stored_as).reshape(entry["shape"])
        if entry["dtype"] == "BF16":  # the upper half of a float32
            values = values.astype(np.uint32)
            values <<= 16
            values = values.view(np.float32)
        return values if entry["dtype"] in ("I8", "I32") else values.astype(np.float32, copy=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without reading it."""
        return tuple(self._entries[name][2]["shape"])

    def stored_as(self, name: str) -> str:
        """How a tensor is stored, in safetensors' words ("F32", "BF16", "I8"), without reading it."""
        return str(self._entries[name][2]["dtype"])

    def expect_single_rows(self, name: str) -> None:
        """Tell the kernel that only single rows of a tensor will be read, so that no more than those become resident.

        Where the page cache holds the file in huge pages, Linux maps 2 MB for every row read, and a table of embeddings
        soon counts as resident whole. It does so only within one memory area; advice that differs from strip to strip
        divides the tensor into areas too small for that.
        """
        mapped, start, entry = self._entries[name]
        begin, end = (start + offset for offset in entry["data_offsets"])
        first = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE
        if hasattr(mmap, "MADV_RANDOM"):
            for strip in range(first, end - _STRIP, 2 * _STRIP):
                mapped.madvise(mmap.MADV_RANDOM, strip, _STRIP)

    def release(self) -> None:
        """Let the pages read so far go; they come back from the page cache when they are read again."""
        for mapped in {id(entry[0]): entry[0] for entry in self._entries.values()}.values():
            if hasattr(mmap, "MADV_DONTNEED"):
                mapped.madvise(mmap.MADV_DONTNEED)

    @contextlib.contextmanager
    def released_meanwhile(self) -> Iterator[None]:
        """Let pages go while someone else copies all that is in them, so that both are never in memory whole."""
        done = threading.Event()

        def release() -> None:
            while not done.wait(0.01):
                self.release()

        thread = threading.Thread(target=release, name="bge-cpu-release")
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self.release()


def check_tensors(weights: Weights, wanted: Iterable[Tensor], source: Path) -> None:
    """Check that weights hold the tensors that a model wants, as it wants them; their values are not read.

    Args:
        weights: What there is.
        wanted: Names, shapes and whether they are INT8 codes; the first that is not there ends the check.
        source: Where the weights come from, for messages.

    Raises:
        CheckpointError: A tensor is missing, of another shape or of another kind.
    """
    for name, shape, codes in wanted:
        if name not in weights:
            raise CheckpointError(f"{source} lacks the tensor {name}", hint=OTHER_TENSORS)
        if weights.shape(name) != shape:
            raise CheckpointError(f"tensor {name} of {source} has shape {weights.shape(name)}; its config says {shape}")
        kinds = ("I8",) if codes else FLOATS
        if weights.stored_as(name) not in kinds:
            raise CheckpointError(
                f"tensor {name} of {source} is stored as {weights.stored_as(name)}, not as {' or '.join(kinds)}",
                hint="take the model's weights in float32, float16 or bfloat16",
            )


def _renamed(name: str) -> str:
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def write_safetensors(file: Path, tensors: Tensors, *, count: int) -> None:
    """Write `count` tensors as they come, so that only one is in memory at a time; the header is written last.

    | 8 bytes       | reserved bytes                            | data, one tensor after the other |
    | reserved size | JSON: name -> dtype, shape, data_offsets, | float32 ...      | int8 ...      |
    |               | padded with blanks                        |                                  |
    """
    reserved = -(-(8 + count * _ENTRY_BYTES) // _PAGE) * _PAGE - 8
    header: dict[str, Any] = {}
    with file.open("wb") as stream:
        stream.seek(8 + reserved)
        start = 0
        for name, tensor in tensors:
            end = start + tensor.nbytes
            header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": tensor.shape, "data_offsets": [start, end]}
            stream.write(np.ascontiguousarray(tensor).data)
            start = end
        text = json.dumps(header).encode().ljust(reserved)
        if len(text) > reserved:
            raise ArtifactError(f"the header of {file} takes {len(text):,} bytes, {reserved:,} are reserved")
        stream.seek(0)
        stream.write(reserved.to_bytes(8, "little") + text)
        stream.flush()
        os.fsync(stream.fileno())
