"""Checkpoints that tests share, and real texts where they lie beside the project."""

import functools
import gzip
import json
import random
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bge_cpu import Reranker
from bge_cpu.checkpoint import MINI
from tests import checkpoints
from tests.pairs import LogitsOf, logits

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Artifacts that tests build by default do not land in the user's cache; child processes inherit this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", params=["xlm-roberta", "roberta", "bert"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint of each architecture in turn."""
    return checkpoints.make(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="session")
def tiny_xlmr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny XLM-RoBERTa checkpoint; tests that change files copy it first."""
    return checkpoints.make(tmp_path_factory.mktemp("tiny"), "xlm-roberta")


@pytest.fixture(scope="session")
def tiny_reranker(tiny_xlmr: Path) -> Reranker:
    return Reranker.load(tiny_xlmr, mode="onnx")


@pytest.fixture(scope="session")
def mini() -> Path:
    """The bundled zh/en checkpoint."""
    return MINI


@pytest.fixture(scope="session")
def real_pairs() -> list[tuple[str, str]]:
    """200 pairs of real queries and passages, Chinese and English, half of them relevant."""
    pairs = []
    for name in ("trec_dl19", "stard_zh", "xquad_zh", "xquad_en", "cranfield"):
        folder = SHARED / "data/eval" / name
        if not folder.is_dir():
            pytest.skip(f"needs the texts in {folder}")
        with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as stream:
            corpus = {record["id"]: record["text"] for record in map(json.loads, stream)}
        lines = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
        queries = {record["id"]: record["text"] for record in map(json.loads, lines)}
        judged = [line.split("\t") for line in (folder / "qrels.tsv").read_text().splitlines()]
        relevant = [row for row in judged if row[0] in queries and row[1] in corpus and int(row[2]) > 0]
        chosen = random.Random(name).sample(relevant, 20)
        pairs += [(queries[query], corpus[document]) for query, document, *_ in chosen]
        pairs += [(queries[query], random.Random(query).choice(list(corpus.values()))) for query, *_ in chosen]
    return pairs


@pytest.fixture(scope="session")
def mini_logits(mini: Path, real_pairs: list[tuple[str, str]]) -> LogitsOf:
    """A mode's logits of the real pairs on `mini`; each mode computes them once."""

    @functools.cache
    def of(mode: str) -> NDArray[np.float32]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="cut to max_length")
            return logits(mini, mode, real_pairs)

    return of
