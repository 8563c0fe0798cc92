"""Measures against hand-computed values."""

import math

import pytest

from bge_cpu.evaluation.files import Run
from bge_cpu.evaluation.measures import measure


def test_measures_as_by_hand() -> None:
    run: Run = {
        "a": [(f"d{rank}", 0.0) for rank in range(1, 13)],  # all scores tie: the order is the run's
        "b": [("x", 5.0), ("y", 1.0)],
        "c": [("x", 5.0), ("y", 5.0)],
    }
    grades = {"a": {"d2": 3, "d11": 1, "gone": 2}, "b": {"y": 1, "x": -1}, "c": {"z": 1}}
    found = measure(grades, run, depth=12)
    ideal = 3 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(4)
    assert found["nDCG@10"].tolist() == pytest.approx([3 / math.log2(3) / ideal, 1 / math.log2(3), 0])
    assert found["MRR@10"].tolist() == [0.5, 0.5, 0]
    assert found["P@1"].tolist() == [0, 0, 0]
    assert found["Recall@12"].tolist() == pytest.approx([2 / 3, 1, 0])
    late = measure({"a": {"d11": 1}, "b": {"x": 1}, "c": {"y": 2}}, run, depth=1)
    assert late["MRR@10"].tolist() == [0, 1, 0.5]
    assert late["P@1"].tolist() == [0, 1, 0]
    strict = measure(grades, run, depth=12, min_grade=2)
    assert strict["nDCG@10"].tolist() == found["nDCG@10"].tolist()
    assert strict["MRR@10"].tolist() == [0.5, 0, 0]
    assert strict["Recall@12"].tolist() == pytest.approx([1 / 2, 0, 0])
