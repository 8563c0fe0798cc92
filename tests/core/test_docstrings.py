"""The examples in docstrings, but for those that need the Hub or a data set."""

import doctest
import importlib
from pathlib import Path

import pytest

import bge_cpu

PACKAGE = Path(bge_cpu.__file__).parent
NEED_MORE = {"bge_cpu.__init__", "bge_cpu.evaluation.report"}
NAMES = {
    ".".join(("bge_cpu", *file.relative_to(PACKAGE).with_suffix("").parts))
    for file in PACKAGE.rglob("*.py")
    if ">>>" in file.read_text(encoding="utf-8")
}


@pytest.mark.parametrize("name", sorted(NAMES - NEED_MORE))
def test_examples_of_docstrings(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted and not results.failed
