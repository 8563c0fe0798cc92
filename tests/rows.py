"""Inputs of a batch, made on the spot, and its outputs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests import checkpoints


def record(number: int, documents: int = 3) -> dict[str, Any]:
    texts = [checkpoints.text(4 + (number + index) % 9, 100 * number + index) for index in range(documents)]
    return {"id": f"q{number}", "query": checkpoints.text(3, number), "documents": texts}


def write_lines(file: Path, records: Sequence[Any]) -> Path:
    """Records as JSON lines; bytes as they are."""
    lines = [line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode() for line in records]
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    return file


def read_lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_bytes().splitlines()]
