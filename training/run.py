"""A run's folder: its options, its last state, its log. What a kill leaves behind is whole."""

import json
import os
from pathlib import Path
from typing import Any

import torch


class Run:
    """A folder with options.json, state.pt and log.jsonl.

    Args:
        folder: The folder; made if missing.
        options: What the run is defined by.

    Raises:
        ValueError: The folder holds a run with other options.
    """

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.log = folder, folder / "log.jsonl"
        self._state = folder / "state.pt"
        file = folder / "options.json"
        before = json.loads(file.read_text()) if file.is_file() else options
        if before != options:
            changed = [f"{name} was {before.get(name)}" for name in options if before.get(name) != options[name]]
            raise ValueError(f"{folder} holds a run with other options: {', '.join(changed)}; take another folder")
        _replace(file, (json.dumps(options, indent=1) + "\n").encode())

    def restore(self) -> dict[str, Any] | None:
        """The last state saved, None if there is none; what was logged after it is dropped from the log."""
        state = torch.load(self._state, weights_only=True) if self._state.is_file() else None
        step = state["step"] if state else 0
        kept = [row for row in self.rows() if row["step"] <= step]
        _replace(self.log, "".join(json.dumps(row) + "\n" for row in kept).encode())
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Save a state in place of the last one; `step` says how many steps are done."""
        partial = self._state.with_suffix(".part")
        with partial.open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(self._state)

    def append(self, row: dict[str, Any]) -> None:
        """Add a line to the log."""
        with self.log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """The lines of the log; one that a kill cut short is left out."""
        lines = self.log.read_text(encoding="utf-8").split("\n")[:-1] if self.log.is_file() else []
        return [json.loads(line) for line in lines]


def _replace(file: Path, content: bytes) -> None:
    partial = file.with_name(f"{file.name}.part")
    partial.write_bytes(content)
    partial.replace(file)
