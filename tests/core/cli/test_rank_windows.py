"""`bge-cpu rank --long-documents windows`."""

import json
from pathlib import Path

from typer.testing import CliRunner

from bge_cpu.cli import app
from tests.checkpoints import text

QUERY = "a river"


def test_command_line_prints_spans(tiny_xlmr: Path, tmp_path: Path) -> None:
    (tmp_path / "documents.txt").write_text(f"{text(300, 1)}\n{text(10, 2)}\n", encoding="utf-8")
    arguments = ["rank", QUERY, "--file", str(tmp_path / "documents.txt"), "--model", str(tiny_xlmr)]
    arguments += ["--mode", "onnx", "--max-length", "128", "--long-documents", "windows"]
    done = CliRunner().invoke(app, [*arguments, "--json", "-"])
    spans = {result["index"]: result["span"] for result in json.loads(done.stdout)["results"]}
    assert spans[1] == [0, len(text(10, 2))]
    assert 0 < spans[0][1] - spans[0][0] < len(text(300, 1))
    assert "…" in CliRunner().invoke(app, arguments).stdout
