"""Ray Data: a class for `ray.data.Dataset.map_batches` that adds a column with each row's results."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import ray

from bge_cpu.batch.flow import How, quiet, ranked
from bge_cpu.batch.job import rows_at_once
from bge_cpu.batch.rows import BadRow
from bge_cpu.errors import InputError
from bge_cpu.inputs import (
    DEFAULT_MIN_FIDELITY,
    DEFAULT_MODEL,
    check_count,
    check_long_documents,
    check_normalize,
)
from bge_cpu.reranker import Reranker

_RESULT = {"index": pyarrow.int64(), "score": pyarrow.float64(), "truncated_tokens": pyarrow.int64()}
_SPAN = {"span": pyarrow.list_(pyarrow.int64())}


class RerankBatch:
    """Reranks the rows of a batch: `dataset.map_batches(RerankBatch, fn_constructor_kwargs={"model": "mini"}, ...)`.

    It adds the columns `results`, a list of {"index", "score", "truncated_tokens"} per row, best first, and `error`:
    why a row could not be scored, else null. Ray makes one of each actor of the pool (`concurrency=`, `num_cpus=`).

    Args:
        model: As in `Reranker.load`, like all options up to `min_fidelity`.
        mode: The mode.
        max_length: Tokens per pair at most; None means 512, or less if the model takes less.
        threads: CPUs to use; None means those that Ray gives the actor.
        revision: A Hub branch, tag or commit.
        local_files_only: Never call the Hub.
        cache_dir: Where INT8 artifacts are kept.
        min_fidelity: What an INT8 mode's gate asks for.
        top_n: How many results per row; None keeps all. As in `Reranker.rank`, like the two that follow.
        normalize: What scores mean.
        long_documents: What becomes of a document longer than max_length; "windows" adds `span` to the results.
        query: The column of queries.
        documents: The column of lists of documents: texts, or objects with a field `text`.
        strict: Raise for a bad row instead of noting it in `error`.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        mode: str | None = None,
        max_length: int | None = None,
        threads: int | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        cache_dir: str | Path | None = None,
        min_fidelity: float | None = DEFAULT_MIN_FIDELITY,
        top_n: int | None = None,
        normalize: str | None = "sigmoid",
        long_documents: str = "truncate",
        query: str = "query",
        documents: str = "documents",
        strict: bool = False,
    ) -> None:
        check_normalize(normalize)
        check_long_documents(long_documents)
        self._how = How(None if top_n is None else check_count(top_n, "top_n"), normalize, long_documents)
        self._columns = {"query": query, "documents": documents}
        self._strict = strict
        self._threads = assigned_cpus() if threads is None else threads
        self._reranker = Reranker.load(
            model,
            mode=mode,
            max_length=max_length,
            threads=self._threads,
            revision=revision,
            local_files_only=local_files_only,
            cache_dir=cache_dir,
            min_fidelity=min_fidelity,
        )

    def __call__(self, batch: Any) -> Any:
        """Add the columns to a batch: a dict of arrays, a table of pyarrow, or a data frame.

        Raises:
            InputError: A column is missing, or, if `strict`, a row is bad.
        """
        missing = [name for name in self._columns.values() if name not in _names(batch)]
        if missing:
            raise InputError(f"the data set has no column {' and no '.join(missing)}")
        columns = [_values(batch[name]) for name in self._columns.values()]
        rows = [dict(zip(self._columns, row, strict=True)) for row in zip(*columns, strict=True)]
        with quiet(), ThreadPoolExecutor(rows_at_once(self._threads)) as pool:
            scored = list(pool.map(self._score, rows))
        return _with_columns(batch, self._column([results for results, _ in scored]), [reason for _, reason in scored])

    def _score(self, row: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str | None]:
        try:
            _, ranking = ranked(self._reranker, 0, row, self._how)
        except BadRow as error:
            if self._strict:
                raise InputError(f"a row is bad: {error}") from None
            return [], str(error)
        fields = self._fields()
        return [{name: getattr(item, name) for name in fields} for item in ranking], None

    def _fields(self) -> dict[str, pyarrow.DataType]:
        return _RESULT | (_SPAN if self._how.long_documents == "windows" else {})

    def _column(self, results: Sequence[Any]) -> pyarrow.Array:
        """Results as a typed column, so that blocks without any have the type of the others."""
        return pyarrow.array(results, pyarrow.list_(pyarrow.struct(self._fields())))


def assigned_cpus() -> int:
    """The CPUs that Ray gives this actor, at least 1; outside of an actor, 1."""
    resources = ray.get_runtime_context().get_assigned_resources() if ray.is_initialized() else {}
    return max(1, int(resources.get("CPU", 1)))


def _names(batch: Any) -> Sequence[str]:
    return list(batch.column_names if isinstance(batch, pyarrow.Table) else batch)


def _values(column: Any) -> list[Any]:
    """A column's values as Python has them."""
    if isinstance(column, pyarrow.ChunkedArray | pyarrow.Array):
        return column.to_pylist()  # type: ignore[no-any-return]
    return [_plain(value) for value in column]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return str(value) if isinstance(value, np.str_) else value


def _with_columns(batch: Any, results: pyarrow.Array, reasons: list[str | None]) -> Any:
    errors = pyarrow.array(reasons, pyarrow.string())
    if isinstance(batch, pyarrow.Table):
        return batch.append_column("results", results).append_column("error", errors)
    if isinstance(batch, Mapping):
        return {**batch, "results": results, "error": errors}
    return batch.assign(results=results.to_pylist(), error=reasons)
