"""`bge-cpu export`: a checkpoint -> a folder that ONNX Runtime runs alone, and that `Reranker.load` runs in its mode.

The folder holds `model.onnx`, a graph of padded batches, the tokenizer, `config.json` and `bge_cpu.json`, and the
tensors once: `model.safetensors` is both the data that `model.onnx` points into and what our own graph reads.
"""

import contextlib
import json
import math
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from bge_cpu.checkpoint import Checkpoint, open_checkpoint
from bge_cpu.checkpoint.architecture import Architecture
from bge_cpu.checkpoint.files import read
from bge_cpu.checkpoint.record import EXPORT_MODES, FORMAT, RECORD, TENSORS
from bge_cpu.checkpoint.weights import Weights, header_bytes, write_safetensors
from bge_cpu.engines import thread_limit
from bge_cpu.engines.gated import artifact
from bge_cpu.errors import BgeCpuError, InputError, shown
from bge_cpu.graph import build
from bge_cpu.graph.feed import Batch
from bge_cpu.graph.linear import Float32, Int8
from bge_cpu.inputs import DEFAULT_MIN_FIDELITY, check_folder, check_share
from bge_cpu.machine.cpu import available_cpus
from bge_cpu.tokenizer import PairTokenizer, probe_encoder

_GRAPH = "model.onnx"
_SIDE_FILES = ("tokenizer_config.json", "special_tokens_map.json")
_BLOCK = 16 << 20  # bytes

Progress = Callable[[int, int], None]


def export(
    model: str | Path,
    out: str | Path,
    *,
    mode: str,
    revision: str | None = None,
    local_files_only: bool = False,
    cache_dir: str | Path | None = None,
    min_fidelity: float | None = DEFAULT_MIN_FIDELITY,
    progress: Progress | None = None,
) -> Path:
    """Write a self-contained folder.

    It is written beside its place under a hidden name and moved there whole; a process that is killed leaves at most
    that.

    Args:
        model: A Hub id, a checkpoint folder, or "mini", the bundled checkpoint.
        out: The folder to write; it does not exist, or is empty.
        mode: "onnx" (float32), "onnx-int8", or "native-int8" (without model.onnx); the last two with the INT8 tensors
            for the kind of CPU this machine has.
        revision: A Hub branch, tag or commit.
        local_files_only: Never call the Hub.
        cache_dir: Where the INT8 artifact is kept, as in `Reranker.load`.
        min_fidelity: What the INT8 artifact must reach, as in `Reranker.load`.
        progress: Is told the bytes of tensors written so far, and how many there will be.

    Returns:
        The folder, as an absolute path.

    Raises:
        InputError: An argument is of the wrong type or value, `out` is not empty, or `model` is itself exported;
            nothing was written.
        CheckpointError: The checkpoint cannot be found, read or run in this mode.
        ArtifactError: The INT8 artifact cannot be built.
        FidelityError: INT8 would cost this checkpoint too much of its ranking.
        BgeCpuError: The folder cannot be written, for instance because the disk is full; nothing is left behind.
    """
    if mode not in EXPORT_MODES:
        raise InputError(f"mode of an export is one of {', '.join(EXPORT_MODES)}, not {shown(mode)}")
    check_share(min_fidelity, "min_fidelity")
    place = _free_place(out)
    checkpoint = open_checkpoint(model, revision=revision, local_files_only=local_files_only)
    if checkpoint.exported_mode is not None:
        raise InputError(
            f"{checkpoint.folder} is itself an exported folder",
            hint="copy the folder, or export the checkpoint it was made from",
        )
    _check_links(checkpoint.folder)
    temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}")
    cache = check_folder(cache_dir, "cache_dir")
    with _built(checkpoint, mode, cache_dir=cache, min_fidelity=min_fidelity) as built:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            _write(checkpoint, temporary, mode=mode, built=built, progress=progress or (lambda done, total: None))
            temporary.replace(place)
        except OSError as error:
            raise BgeCpuError(
                f"{place} cannot be written: {error.strerror or error}",
                hint="name a folder that can be written; v2-m3 needs room for 2.3 GB, or 0.6 GB in INT8",
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return place


def _check_links(folder: Path) -> None:
    """Refuse a checkpoint whose side files are links out of its folder, to whatever an export would copy and give away.

    A link as the Hub's cache has them, from snapshots/COMMIT to the blobs of the same model, stays with the model.
    """
    home = folder.resolve()
    blobs = [home.parents[1] / "blobs"] if home.parent.name == "snapshots" else []
    for name in _SIDE_FILES:
        file = (folder / name).resolve()
        if os.path.exists(file) and not any(place in file.parents for place in (home, *blobs)):
            raise InputError(
                f"{folder / name} is a link out of its folder, to {file}; an export would copy what it leads to",
                hint="put the file itself there, or remove the link",
            )


def _free_place(out: str | Path) -> Path:
    """Where the folder will stand, with symbolic links followed."""
    if not isinstance(out, str | Path) or not str(out):
        raise InputError(f"out is a folder's name, not {shown(out)}")
    try:
        place = Path(out).expanduser().resolve()
        taken = place.exists() and (not place.is_dir() or any(place.iterdir()))
        parent = next((parent for parent in place.parents if parent.exists()), place)
        mounted = place.is_mount()
    except (OSError, RuntimeError, ValueError) as error:
        reason = shown(getattr(error, "strerror", None) or str(error), 100)
        raise InputError(f"{shown(str(out), 200)} is no folder to write to: {reason}") from error
    if taken:
        raise InputError(f"{place} exists and is not an empty folder", hint="name a new folder; nothing is overwritten")
    if not parent.is_dir():
        raise InputError(f"{place} cannot be made: {parent} is a file")
    if mounted:  # nothing can be moved into its place
        raise InputError(f"{place} is a mount point", hint="name a folder within it")
    return place


def _built(
    checkpoint: Checkpoint, mode: str, *, cache_dir: Path | None, min_fidelity: float | None
) -> contextlib.AbstractContextManager[Path | None]:
    """The folder of the INT8 artifact that has passed the gate; None for float32, which needs none."""
    if mode == "onnx":
        return contextlib.nullcontext()
    limit = thread_limit(None)
    encode, threads = probe_encoder(checkpoint, threads=limit), limit or available_cpus()
    return artifact(mode, checkpoint, encode=encode, threads=threads, cache_dir=cache_dir, min_fidelity=min_fidelity)


def _write(checkpoint: Checkpoint, folder: Path, *, mode: str, built: Path | None, progress: Progress) -> None:
    """Fill an empty folder; the tensors are those of a built INT8 artifact, or the checkpoint's own as float32."""
    tokenizer = PairTokenizer.load(checkpoint.tokenizer)
    checkpoint.check_tokenizer(tokenizer.vocabulary, tokenizer.token_types)
    for file in () if built is None else (file for file in built.iterdir() if not file.name.startswith(".")):
        _save(folder / file.name, _blocks(file, progress if file.name == TENSORS else None))
    record = {
        "format": FORMAT,
        "mode": mode,
        "model": checkpoint.name,
        "commit": checkpoint.commit,
        "fingerprint": checkpoint.fingerprint(),
        "tensors": TENSORS,
    }
    typed = tokenizer.token_types > 1
    inputs = ["input_ids", "attention_mask", *(["token_type_ids"] if typed else [])]
    if mode != "native-int8":  # whose tensors no other program could run
        record |= _write_graph(checkpoint, folder, typed=typed, int8=built is not None, progress=progress)
    for name in ("config.json", "tokenizer.json", *_SIDE_FILES):
        if os.path.exists(checkpoint.folder / name):
            _save(folder / name, [read(checkpoint.folder / name)])
    if not (folder / "tokenizer_config.json").exists():
        _save(folder / "tokenizer_config.json", [_json(_tokenizer_config(checkpoint, inputs))])
    _save(folder / RECORD, [_json(record)])


def _write_graph(
    checkpoint: Checkpoint, folder: Path, *, typed: bool, int8: bool, progress: Progress
) -> dict[str, Any]:
    """Write model.onnx over the tensors that lie in the folder, which are float32 and written first unless `int8`.

    Returns:
        What the record says of it.
    """
    architecture = Architecture.from_config(checkpoint.config)
    weights = Weights([folder / TENSORS] if int8 else checkpoint.weights)
    architecture.check(weights, folder if int8 else checkpoint.folder, int8=int8)
    model, shapes = build(architecture, Int8() if int8 else Float32(), partial(Batch, typed=typed))
    if not int8:
        write_safetensors(folder / TENSORS, _float32(weights, shapes, progress), count=len(shapes))
    _point(model, folder / TENSORS)
    _save(folder / _GRAPH, [model.SerializeToString()])
    values = {"inputs": model.graph.input, "outputs": model.graph.output}
    return {"graph": _GRAPH} | {name: [value.name for value in found] for name, found in values.items()}


def _float32(
    weights: Weights, shapes: dict[str, tuple[int, ...]], progress: Progress
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The tensors a graph wants, each read when the one before it is written."""
    done, total = 0, 4 * sum(map(math.prod, shapes.values()))
    for name in shapes:
        tensor = weights[name]
        yield name, tensor
        done += tensor.nbytes
        progress(done, total)
        weights.release()


def _point(model: Any, file: Path) -> None:
    """Tell a graph where in a safetensors file beside it its initializers lie."""
    header = header_bytes(file)
    entries = json.loads(header)
    for tensor in (tensor for tensor in model.graph.initializer if tensor.external_data):
        begin, end = entries[tensor.name]["data_offsets"]
        del tensor.external_data[:]
        for key, value in (("location", file.name), ("offset", 8 + len(header) + begin), ("length", end - begin)):
            tensor.external_data.add(key=key, value=str(value))


def _tokenizer_config(checkpoint: Checkpoint, inputs: list[str]) -> dict[str, Any]:
    """What transformers needs to know beside tokenizer.json; padding is masked, so any token will do for it."""
    tokenizer = tokenizers.Tokenizer.from_file(str(checkpoint.tokenizer))
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": tokenizer.id_to_token(checkpoint.config.get("pad_token_id") or 0),
        "model_input_names": inputs,
        "model_max_length": checkpoint.max_length,
    }


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, indent=1).encode()


def _blocks(file: Path, progress: Progress | None) -> Iterator[bytes]:
    """A file's content, a bounded number of bytes at a time."""
    done, total = 0, file.stat().st_size
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            yield block
            done += len(block)
            if progress:
                progress(done, total)


def _save(file: Path, blocks: Iterable[bytes]) -> None:
    """Write a new file down to the disk."""
    with file.open("xb") as stream:
        stream.writelines(blocks)
        stream.flush()
        os.fsync(stream.fileno())
