"""What an exported folder says of itself, in `bge_cpu.json`: the mode it runs in."""

import os
from pathlib import Path

from bge_cpu.checkpoint.files import parse, read
from bge_cpu.errors import CheckpointError

RECORD = "bge_cpu.json"
FORMAT = 1
"""The version of the record's own layout."""

TENSORS = "model.safetensors"
"""The file of tensors in a checkpoint, in an exported folder and in an INT8 artifact."""

SHARDS = "model.safetensors.index.json"
"""The file that names the files of a checkpoint whose tensors are spread over several."""

EXPORT_MODES = ("onnx", "onnx-int8")
"""The modes a checkpoint can be exported for."""


def recorded_mode(folder: Path) -> str | None:
    """The mode a folder was exported for; None where it is an ordinary checkpoint.

    Raises:
        CheckpointError: Its bge_cpu.json is damaged, or of a newer version.
    """
    file = folder / RECORD
    if not os.path.exists(file):
        return None
    try:
        record = parse(read(file))
        version, mode = record["format"], record["mode"]
    except (ValueError, KeyError) as error:
        raise CheckpointError(
            f"{file} is damaged: {type(error).__name__} {error}", hint="copy or export the folder again"
        ) from error
    if version != FORMAT or mode not in EXPORT_MODES:
        raise CheckpointError(
            f"{file} has format {version!r} and mode {mode!r}; this version of bge-cpu reads format {FORMAT} and "
            f"modes {', '.join(EXPORT_MODES)}",
            hint="upgrade bge-cpu, or export the checkpoint again with this version",
        )
    return str(mode)
