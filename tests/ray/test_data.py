"""`RerankBatch`: the results of `Reranker.rank` as a column, in every format that Ray Data knows."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bge_cpu import Reranker
from bge_cpu.errors import InputError
from tests.rows import record

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'bge-cpu[ray]'")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray itself
RECORDS = [record(0), {"id": "none", "query": "q", "documents": []}, {"id": "bad", "query": "", "documents": ["a"]}]


def expected(reranker: Reranker, records: list[dict[str, Any]]) -> list[list[tuple[int, float]]]:
    return [
        [(item.index, item.score) for item in reranker.rank(line["query"], line["documents"], top_n=2)]
        for line in records
    ]


def found(results: Any) -> list[list[tuple[int, float]]]:
    return [[(item["index"], item["score"]) for item in row] for row in results]


@pytest.mark.parametrize("form", ["numpy", "pyarrow", "pandas"])
def test_each_format_gets_the_two_columns(tiny_xlmr: Path, tiny_reranker: Reranker, form: str) -> None:
    import pandas
    import pyarrow

    from bge_cpu.ray import RerankBatch

    table = pyarrow.Table.from_pylist(RECORDS)
    batch: Any = table
    if form == "pandas":
        batch = pandas.DataFrame(RECORDS)
    elif form == "numpy":
        documents = np.empty(3, object)
        documents[:] = [np.array(line["documents"], object) for line in RECORDS]
        batch = {"query": np.array([line["query"] for line in RECORDS]), "documents": documents}
    made = RerankBatch(tiny_xlmr, mode="onnx", top_n=2)(batch)
    columns = made.to_pydict() if form == "pyarrow" else {name: list(map(_plain, made[name])) for name in made}
    assert found(columns["results"]) == [*expected(tiny_reranker, RECORDS[:2]), []]
    assert columns["error"] == [None, None, "query is empty"]
    if form != "pandas":
        assert made["results"].type == pyarrow.list_(
            pyarrow.struct([("index", "int64"), ("score", "float64"), ("truncated_tokens", "int64")])
        )


def _plain(value: Any) -> Any:
    value = value.as_py() if hasattr(value, "as_py") else value
    return None if isinstance(value, float) and value != value else value  # pandas has nan for a text that is missing


def test_columns_that_are_missing_and_bad_rows_where_it_is_strict(tiny_xlmr: Path) -> None:
    from bge_cpu.ray import RerankBatch

    strict = RerankBatch(tiny_xlmr, mode="onnx", strict=True, query="question", long_documents="windows")
    with pytest.raises(InputError, match="the data set has no column question"):
        strict({"query": ["a"], "documents": [["b"]]})
    with pytest.raises(InputError, match="a row is bad: documents is a list, not str"):
        strict({"question": ["a"], "documents": ["b"]})
    made = strict({"question": ["a"], "documents": [["b"]]})
    assert made["results"].to_pylist()[0][0]["span"] == [0, 1]


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_data_set_over_an_actor_pool(tiny_xlmr: Path, tiny_reranker: Reranker) -> None:
    from bge_cpu.ray import RerankBatch

    records = [record(number) for number in range(12)]
    reranked = ray.data.from_items(records, override_num_blocks=4).map_batches(
        RerankBatch,
        fn_constructor_kwargs={"model": str(tiny_xlmr), "mode": "onnx", "top_n": 2},
        batch_format="pyarrow",
        batch_size=3,
        concurrency=2,
        num_cpus=1,
    )
    rows = {row["id"]: row for row in reranked.take_all()}
    ordered = [rows[line["id"]] for line in records]
    assert found(row["results"] for row in ordered) == expected(tiny_reranker, records)
    assert {row["error"] for row in ordered} == {None}


@pytest.mark.slow
@pytest.mark.model
def test_the_example_runs_on_a_laptop(mini: Path) -> None:
    example = Path(__file__).resolve().parents[2] / "examples/ray_dataset.py"
    command = [sys.executable, str(example), "--model", str(mini)]
    environ = os.environ | {"RAY_DATA_DISABLE_PROGRESS_BARS": "1"}
    environ.pop("RAY_ADDRESS", None)
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=240, env=environ)
    assert done.returncode == 0, done.stderr
    assert "阳光穿过大气时" in done.stdout.splitlines()[-3]
