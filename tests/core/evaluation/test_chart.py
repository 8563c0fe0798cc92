"""The picture of an evaluation."""

from dataclasses import replace
from pathlib import Path

import pytest

from bge_cpu import InputError
from bge_cpu.evaluation import Task, evaluate, prepare, read
from bge_cpu.evaluation.chart import draw
from tests import fakes
from tests.fakes import DistinctEngine
from tests.sets import flat


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return prepare(read(flat(tmp_path / "set")), candidates=3)


@pytest.mark.parametrize(("suffix", "start"), [(".svg", b"<?xml"), (".png", b"\x89PNG")])
def test_chart(tmp_path: Path, task: Task, suffix: str, start: bytes) -> None:
    tasks = [task, replace(task, name="中文", first_stage="candidates.tsv")]
    reports = evaluate(tasks, {"up": lambda: fakes.reranker(DistinctEngine())})
    draw(reports, tmp_path / f"chart{suffix}", title="a title")
    assert (tmp_path / f"chart{suffix}").read_bytes().startswith(start)
    with pytest.raises(InputError, match="cannot be written"):
        draw(reports, tmp_path / f"no/chart{suffix}", title="")
