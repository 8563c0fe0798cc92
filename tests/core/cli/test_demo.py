"""`bge-cpu demo`: the article's examples."""

from pathlib import Path

import pytest

from tests import modes
from tests.commands import run


@pytest.mark.model
@pytest.mark.parametrize("mode", modes.params("fp32", "onnx"))
def test_demo_gets_the_articles_examples_right(mini: Path, mode: str) -> None:
    done = run("demo", "--model", mini, "--mode", mode)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("✓ the right document is first") == 3
    assert "✗" not in done.stdout
    assert "什么是人工智能?" in done.stdout
    assert "如何治疗糖尿病足?" in done.stdout
