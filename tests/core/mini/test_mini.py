"""The bundled checkpoint: whole, small, and right where the article's examples ask for it, in every mode."""

from pathlib import Path

import pytest

from bge_cpu import Reranker
from bge_cpu.checkpoint import MINI
from bge_cpu.cli.demo import BASIC, CHECKS, KEYWORD_TRAP, KEYWORD_TRAP_ENGLISH, Check
from bge_cpu.engines import MODES
from tests import modes

pytestmark = pytest.mark.model


@pytest.fixture(scope="module", params=modes.params(*MODES))
def reranker(request: pytest.FixtureRequest) -> Reranker:
    return Reranker.load("mini", mode=request.param)


def test_is_small_and_whole() -> None:
    files = {file.name: file.stat().st_size for file in MINI.iterdir()}
    assert set(files) == {
        "MODEL_CARD.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(files.values()) <= 60_000_000


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.query)
def test_the_articles_examples_come_out_right(reranker: Reranker, check: Check) -> None:
    assert reranker.rank(check.query, check.documents, normalize=check.normalize)[0].index == check.right


@pytest.mark.parametrize("check", [KEYWORD_TRAP, KEYWORD_TRAP_ENGLISH], ids=["zh", "en"])
def test_the_right_document_of_the_trap_has_most_of_the_softmax(reranker: Reranker, check: Check) -> None:
    assert reranker.rank(check.query, check.documents, normalize="softmax")[0].score > 0.5


def test_a_wrong_answer_is_far_below_a_right_one(reranker: Reranker) -> None:
    wrong, right = reranker.score([(BASIC.query, document) for document in BASIC.documents])
    assert right - wrong > 1


def test_the_model_card_names_data_and_licences() -> None:
    card = (MINI / "MODEL_CARD.md").read_text(encoding="utf-8")
    for word in ("multilingual-e5-small", "MIT", "CMRC 2018", "CC BY-SA 4.0", "MedQuAD", "nDCG@10", "BM25"):
        assert word in card


def test_needs_nothing_from_beside_the_package(tmp_path: Path) -> None:
    assert Reranker.load("mini", mode="onnx", cache_dir=tmp_path, local_files_only=True).model == "mini"
