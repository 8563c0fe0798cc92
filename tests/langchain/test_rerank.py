"""The LangChain adapter over real chains of langchain-core and langchain-classic."""

import asyncio
import copy
import json
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_classic.retrievers.document_compressors import CrossEncoderReranker, DocumentCompressorPipeline
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.load import dumpd, load
from langchain_core.retrievers import BaseRetriever
from pydantic import ValidationError

from bge_cpu import InputError, Reranker
from bge_cpu.tokenizer import PairTokenizer
from langchain_bge_cpu import BgeCpuCrossEncoder, BgeCpuRerank
from tests import fakes
from tests.checkpoints import text
from tests.fakes import SlowEngine

pytestmark = pytest.mark.filterwarnings("ignore:The function `load` is in beta")
QUERY = "which river runs through the town?"


def documents(count: int = 6) -> list[Document]:
    return [
        Document(text(10 + 7 * number, number), id=f"id-{number}", metadata={"source": {"page": number}, "n": number})
        for number in range(count)
    ]


class Recorder(BaseCallbackHandler):
    """What chain runs begin and end with."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def on_chain_start(self, serialized: Any, inputs: dict[str, Any], *, run_id: UUID, **kwargs: Any) -> None:
        self.events.append(("start", (kwargs["name"], inputs)))

    def on_chain_end(self, outputs: dict[str, Any], **kwargs: Any) -> None:
        self.events.append(("end", outputs))

    def on_chain_error(self, error: BaseException, **kwargs: Any) -> None:
        self.events.append(("error", error))


class AsyncRecorder(AsyncCallbackHandler):
    """The same for asynchronous runs."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    async def on_chain_start(self, serialized: Any, inputs: dict[str, Any], **kwargs: Any) -> None:
        self.events.append(("start", (kwargs["name"], inputs)))

    async def on_chain_end(self, outputs: dict[str, Any], **kwargs: Any) -> None:
        self.events.append(("end", outputs))

    async def on_chain_error(self, error: BaseException, **kwargs: Any) -> None:
        self.events.append(("error", error))


class Fixed(BaseRetriever):
    """Finds the same documents for every query."""

    found: list[Document]

    def _get_relevant_documents(self, query: str, **kwargs: Any) -> list[Document]:
        return self.found


def test_same_scores_as_the_core_to_the_bit(tiny_reranker: Reranker) -> None:
    given = documents()
    ranking = tiny_reranker.rank(QUERY, [document.page_content for document in given])
    compressed = BgeCpuRerank(reranker=tiny_reranker, top_n=None).compress_documents(given, QUERY)
    assert [(document.id, document.metadata["relevance_score"]) for document in compressed] == [
        (given[item.index].id, item.score) for item in ranking
    ]


def test_inputs_stay_as_they_were_and_results_are_json(tiny_reranker: Reranker) -> None:
    given = documents()
    before = copy.deepcopy(given)
    compressed = BgeCpuRerank(reranker=tiny_reranker, long_documents="windows").compress_documents(given, QUERY)
    assert given == before
    assert len(compressed) == 3
    for document in compressed:
        assert json.loads(json.dumps(document.metadata)) == document.metadata
        assert json.loads(document.model_dump_json())["metadata"]["relevance_span"] == [0, len(document.page_content)]
        assert document.metadata["source"] == {"page": document.metadata["n"]}
        assert json.loads(json.dumps(document.to_json()))["kwargs"]["id"] == document.id


def test_no_span_without_windows(tiny_reranker: Reranker) -> None:
    (document,) = BgeCpuRerank(reranker=tiny_reranker).compress_documents(documents(1), QUERY)
    assert set(document.metadata) == {"source", "n", "relevance_score"}


def test_empty_documents_and_empty_texts(tiny_reranker: Reranker) -> None:
    compressor = BgeCpuRerank(reranker=tiny_reranker)
    assert compressor.compress_documents([], QUERY) == []
    assert asyncio.run(compressor.acompress_documents([], QUERY)) == []
    (empty,) = compressor.compress_documents([Document("", metadata={"kept": object})], QUERY)
    assert empty.page_content == "" and empty.metadata["kept"] is object


def test_threshold(tiny_reranker: Reranker) -> None:
    scores = sorted(item.score for item in tiny_reranker.rank(QUERY, [item.page_content for item in documents()]))
    compressor = BgeCpuRerank(reranker=tiny_reranker, top_n=None, score_threshold=scores[3])
    assert [item.metadata["relevance_score"] for item in compressor.compress_documents(documents(), QUERY)] == [
        scores[5],
        scores[4],
        scores[3],
    ]


def test_rerank_gives_indices_and_scores(tiny_reranker: Reranker) -> None:
    compressor = BgeCpuRerank(reranker=tiny_reranker, top_n=2)
    given = documents()
    ranking = tiny_reranker.rank(QUERY, [document.page_content for document in given])
    expected = [{"index": item.index, "relevance_score": item.score} for item in ranking]
    assert compressor.rerank(given, QUERY) == expected[:2]
    assert compressor.rerank([document.page_content for document in given], QUERY, top_n=None) == expected
    assert compressor.rerank(given, QUERY, top_n=4) == expected[:4]
    assert compressor.rerank([], QUERY) == []


def test_pipeline_and_langchains_own_reranker(tiny_xlmr: Path) -> None:
    compressor = BgeCpuRerank(model=str(tiny_xlmr), mode="onnx", top_n=2)
    theirs = CrossEncoderReranker(model=BgeCpuCrossEncoder(model=str(tiny_xlmr), mode="onnx"), top_n=2)
    ours = DocumentCompressorPipeline(transformers=[compressor])
    expected = [document.id for document in compressor.compress_documents(documents(), QUERY)]
    assert [document.id for document in ours.compress_documents(documents(), QUERY)] == expected
    assert [document.id for document in asyncio.run(ours.acompress_documents(documents(), QUERY))] == expected
    assert [document.id for document in theirs.compress_documents(documents(), QUERY)] == expected


def test_written_down_and_read_back(tiny_xlmr: Path) -> None:
    compressor = BgeCpuRerank(
        model=str(tiny_xlmr),
        mode="onnx",
        top_n=None,
        min_fidelity=None,
        normalize=None,
        score_threshold=-3.5,
        threads=1,
    )
    compressor.compress_documents(documents(), QUERY)  # what is loaded is left behind
    for other in (
        load(dumpd(compressor), allowed_objects=[BgeCpuRerank], valid_namespaces=["langchain_bge_cpu"]),
        pickle.loads(pickle.dumps(compressor)),
        copy.deepcopy(compressor),
        compressor.model_copy(),
        BgeCpuRerank(**compressor.model_dump()),
    ):
        assert other.model_dump() == compressor.model_dump()
        assert other.compress_documents(documents(), QUERY) == compressor.compress_documents(documents(), QUERY)
    encoder = BgeCpuCrossEncoder(model=str(tiny_xlmr), mode="onnx", normalize=None)
    read = load(dumpd(encoder), allowed_objects=[BgeCpuCrossEncoder], valid_namespaces=["langchain_bge_cpu"])
    assert read == encoder


def test_a_shared_reranker_is_copied_but_not_written_down(tiny_reranker: Reranker) -> None:
    compressor = BgeCpuRerank(reranker=tiny_reranker)
    assert copy.deepcopy(compressor).reranker is tiny_reranker
    with pytest.raises(ValueError, match="cannot be written down"):
        compressor.model_dump()
    with pytest.raises(NotImplementedError):
        load(dumpd(compressor), allowed_objects=[BgeCpuRerank], valid_namespaces=["langchain_bge_cpu"])


def test_loads_lazily_once_and_anew_when_an_option_changes(tiny_xlmr: Path, tmp_path: Path) -> None:
    compressor = BgeCpuRerank(model=tmp_path / "none")  # type: ignore[arg-type]  # nothing is looked for yet
    with pytest.raises(Exception, match="none"):
        compressor.compress_documents(documents(), QUERY)
    with pytest.raises(Exception, match="none"):
        BgeCpuRerank(model=str(tmp_path / "none"), preload=True)
    compressor = BgeCpuRerank(model=str(tiny_xlmr), mode="onnx", preload=True)
    first = compressor.loaded()
    threads = [threading.Thread(target=lambda: loaded.add(id(compressor.loaded()))) for _ in range(8)]
    loaded: set[int] = set()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loaded == {id(first)}
    compressor.max_length = 32
    assert compressor.loaded() is not first and compressor.loaded() is compressor.loaded()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_n": 0}, "top_n"),
        ({"top_n": -1}, "top_n"),
        ({"top_n": True}, "top_n"),
        ({"top_k": 3}, "top_k"),
        ({"score_threshold": 1.5}, "0..1 with normalize='sigmoid'"),
        ({"score_threshold": -0.1, "normalize": "softmax"}, "0..1 with normalize='softmax'"),
        ({"score_threshold": float("nan")}, "score_threshold"),
        ({"normalize": "tanh"}, "normalize"),
        ({"long_documents": "skip"}, "long_documents"),
        ({"mode": "int4"}, "mode is one of"),
        ({"min_fidelity": 2}, "min_fidelity"),
        ({"max_length": 0}, "max_length"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        BgeCpuRerank(**options)


def test_wrong_changes_are_refused(tiny_reranker: Reranker) -> None:
    compressor = BgeCpuRerank(reranker=tiny_reranker)
    with pytest.raises(ValidationError, match="top_n"):
        compressor.top_n = 0
    with pytest.raises(ValidationError, match="reranker is loaded already, so mode would change nothing"):
        BgeCpuRerank(reranker=tiny_reranker, mode="onnx")
    with pytest.raises(InputError, match="top_n"):
        compressor.rerank(documents(), QUERY, top_n=0)


def outputs(compressed: list[Document]) -> dict[str, Any]:
    return {
        "documents": [
            {
                "index": document.metadata["n"],
                "id": document.id,
                "relevance_score": document.metadata["relevance_score"],
            }
            for document in compressed
        ]
    }


def test_trace_of_a_run(tiny_xlmr: Path) -> None:
    recorder, compressor = Recorder(), BgeCpuRerank(model=str(tiny_xlmr), mode="onnx", top_n=2)
    compressed = compressor.compress_documents(documents(), QUERY, callbacks=[recorder])
    inputs = {"query": QUERY, "model": str(tiny_xlmr), "mode": "onnx", "top_n": 2}
    assert recorder.events == [("start", ("BgeCpuRerank", inputs)), ("end", outputs(compressed))]


def test_trace_of_an_asynchronous_run(tiny_reranker: Reranker) -> None:
    recorders = AsyncRecorder(), Recorder()
    handlers: list[BaseCallbackHandler] = list(recorders)
    compressor = BgeCpuRerank(reranker=tiny_reranker)
    compressed = asyncio.run(compressor.acompress_documents(documents(), QUERY, callbacks=handlers))
    for handler in recorders:
        assert [kind for kind, _ in handler.events] == ["start", "end"]
        assert handler.events[0][1][1]["mode"] == "onnx"
        assert handler.events[1][1] == outputs(compressed)


def test_trace_of_a_run_that_fails(tiny_reranker: Reranker) -> None:
    for recorder in (Recorder(), AsyncRecorder()):
        compressor = BgeCpuRerank(reranker=tiny_reranker)
        with pytest.raises(InputError, match="query is empty"):
            if isinstance(recorder, Recorder):
                compressor.compress_documents(documents(), " ", callbacks=[recorder])
            else:
                asyncio.run(compressor.acompress_documents(documents(), " ", callbacks=[recorder]))
        assert [kind for kind, _ in recorder.events] == ["start", "error"]
        assert isinstance(recorder.events[1][1], InputError)


def test_trace_stands_under_its_retriever(tiny_reranker: Reranker) -> None:
    recorder = Recorder()
    retriever = ContextualCompressionRetriever(
        base_retriever=Fixed(found=documents()), base_compressor=BgeCpuRerank(reranker=tiny_reranker)
    )
    assert len(retriever.invoke(QUERY, config={"callbacks": [recorder]})) == 3
    assert [kind for kind, _ in recorder.events] == ["start", "end"]


def test_fifty_calls_at_once_on_one_instance(tiny_xlmr: Path) -> None:
    compressor = BgeCpuRerank(model=str(tiny_xlmr), mode="onnx", top_n=None)

    async def run() -> list[list[Document]]:
        calls = [compressor.acompress_documents(documents(1 + n % 6), f"{QUERY} {n}") for n in range(50)]
        return await asyncio.gather(*calls)

    results = asyncio.run(run())
    for number, result in enumerate(results):
        expected = compressor.compress_documents(documents(1 + number % 6), f"{QUERY} {number}")
        assert result == expected


@pytest.mark.slow
def test_cancelling_stops_the_scoring(tiny_xlmr: Path) -> None:
    engine, recorder = SlowEngine(), AsyncRecorder()
    slow = Reranker(PairTokenizer.load(tiny_xlmr / "tokenizer.json"), engine)
    compressor = BgeCpuRerank(reranker=slow)

    async def run() -> int:
        task = asyncio.create_task(compressor.acompress_documents(documents(500), QUERY, callbacks=[recorder]))
        while not engine.done:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.1)
        done = engine.done
        await asyncio.sleep(0.1)
        return engine.done - done

    assert asyncio.run(run()) == 0
    assert engine.done < 500
    assert [kind for kind, _ in recorder.events] == ["start", "error"]
    assert len(asyncio.run(compressor.acompress_documents(documents(), QUERY))) == 3


def test_truncation_names_the_line_that_called(tiny_xlmr: Path) -> None:
    compressor = BgeCpuRerank(reranker=fakes.reranker(max_length=32))
    retriever = ContextualCompressionRetriever(base_retriever=Fixed(found=documents()), base_compressor=compressor)
    pipeline = DocumentCompressorPipeline(transformers=[compressor])
    for call in (
        lambda: compressor.compress_documents(documents(), QUERY),
        lambda: compressor.rerank(documents(), QUERY),
        lambda: pipeline.compress_documents(documents(), QUERY),
        lambda: retriever.invoke(QUERY),
    ):
        with pytest.warns(UserWarning, match="cut to max_length=32 tokens") as caught:
            call()
        assert [warning.filename for warning in caught] == [__file__]


def test_loading_lazily_names_the_line_that_called(tiny_xlmr: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    options: dict[str, Any] = {
        "model": tiny_xlmr,
        "mode": "onnx-int8",
        "cache_dir": tmp_path / "file",
        "min_fidelity": None,
    }
    with pytest.warns(UserWarning, match="cannot be used") as caught:
        BgeCpuRerank(**options).compress_documents(documents(), QUERY)
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(UserWarning, match="cannot be used") as caught:
        BgeCpuRerank(**options, preload=True)
    assert [warning.filename for warning in caught] == [__file__]


def test_needs_langchain_and_says_so() -> None:
    script = "import sys; sys.modules['langchain_core'] = None\ntry: import langchain_bge_cpu\n"
    script += "except ImportError as error: print(type(error).__name__, error)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert "MissingDependencyError" in done.stdout and "pip install 'bge-cpu[langchain]'" in done.stdout, done.stderr


def test_imports_neither_torch_nor_llamaindex() -> None:
    script = "import sys; sys.modules['llama_index'] = None\nimport langchain_bge_cpu\n"
    script += "print([name for name in ('torch', 'transformers', 'onnxruntime') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr
