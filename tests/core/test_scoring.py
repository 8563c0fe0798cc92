"""Windows -> a logit per document: in bounded portions, every logit checked."""

import pytest

from bge_cpu import CheckpointError
from tests.fakes import ConstantEngine, LengthEngine, reranker


def test_many_pairs_reach_the_engine_in_bounded_portions() -> None:
    engine = LengthEngine()
    assert len(reranker(engine).score([("q", "a")] * 2_500)) == 2_500
    assert max(engine.calls) <= 1_024


@pytest.mark.parametrize("logit", [float("nan"), float("inf"), float("-inf")])
def test_a_logit_that_is_no_number_is_an_error_that_names_the_pair(logit: float) -> None:
    engine = ConstantEngine(1.0, {2: logit})

    documents = ["zero", "one", "two", "three"]
    with pytest.raises(CheckpointError, match=rf"pair 2 the logit {logit}: 'q' / 'two'"):
        reranker(engine).rank("q", documents)
    with pytest.raises(CheckpointError, match="pair 2"):
        list(reranker(engine).score_stream([("q", document) for document in documents]))
