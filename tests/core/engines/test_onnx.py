"""Mode "onnx": a pair's score is the same to the bit, whatever runs beside it."""

import json
import random
from pathlib import Path

import pytest

from bge_cpu import CheckpointError, Reranker
from bge_cpu.engines.packing import share_runs
from tests import checkpoints
from tests.pairs import PAIRS, check_equal_in_any_company


def test_bit_equal_in_any_company_order_thread_and_thread_count(tiny: Path) -> None:
    check_equal_in_any_company(tiny, PAIRS)


@pytest.mark.model
@pytest.mark.filterwarnings("ignore:cut to max_length")
def test_trained_checkpoint_is_bit_equal_too(mini: Path, real_pairs: list[tuple[str, str]]) -> None:
    check_equal_in_any_company(mini, real_pairs[::16])


def test_architectures_it_cannot_run_are_named(tmp_path: Path) -> None:
    checkpoints.make(tmp_path, "bert")
    config = {"architectures": ["DistilBertForSequenceClassification"], "model_type": "distilbert", "num_labels": 1}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError) as caught:
        Reranker.load(tmp_path, mode="onnx")
    for part in ("DistilBertForSequenceClassification", "XLMRobertaForSequenceClassification", 'mode="fp32"'):
        assert part in str(caught.value)


def test_nothing_is_written_beside_the_checkpoint(tiny_xlmr: Path) -> None:
    before = sorted(file.name for file in tiny_xlmr.iterdir())
    Reranker.load(tiny_xlmr, mode="onnx").score([("a", "b")])
    assert sorted(file.name for file in tiny_xlmr.iterdir()) == before


def test_runs_where_the_working_directory_is_gone(
    tiny_xlmr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert len(Reranker.load(tiny_xlmr, mode="onnx").score([("a", "b")])) == 1


def test_short_pairs_share_runs_and_no_thread_idles() -> None:
    draw = random.Random(0)
    short = [draw.randint(28, 60) for _ in range(100)]
    for threads in (1, 2, 4):
        runs = share_runs(short, threads, 256)
        assert sorted(index for run in runs for index in run) == list(range(100))
        tokens = [sum(short[index] for index in run) for run in runs]
        assert len(runs) >= threads
        assert max(tokens) <= 256 + 30
        assert min(tokens[:-1]) > 256 / 2
    assert share_runs([20, 300, 40, 500, 30], 2, 256) == [[3], [1], [2, 4, 0]]
    assert share_runs([20, 30, 40], 2, 0) == [[2], [1], [0]]
    assert share_runs([40, 40], 2, 256) == [[0], [1]], "no thread idles"
    assert share_runs([], 2, 256) == []
