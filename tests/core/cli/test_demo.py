"""`bge-cpu demo`: the article's examples."""

from pathlib import Path

import pytest

from bge_cpu.cli.demo import CHECKS
from tests import modes
from tests.commands import run


def test_the_right_document_is_not_always_in_the_same_place() -> None:
    assert [check.right for check in CHECKS] == [1, 1, 2]
    for check, word in zip(CHECKS, ("人工智能", "避免感染", "avoid infection"), strict=True):
        assert [word in document for document in check.documents].index(True) == check.right


@pytest.mark.model
@pytest.mark.parametrize("mode", modes.params("fp32", "onnx"))
def test_demo_gets_the_articles_examples_right(mini: Path, mode: str) -> None:
    done = run("demo", "--model", mini, "--mode", mode)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("✓ the right document is first") == 3
    assert "✗" not in done.stdout
    assert "什么是人工智能?" in done.stdout
    assert "如何治疗糖尿病足?" in done.stdout
