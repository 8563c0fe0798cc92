"""The adapters with `base_url`: a real service, and one that says what services say when they cannot."""

import asyncio
import json
import pickle
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.load import dumpd, load
from llama_index.core.schema import NodeWithScore, TextNode
from pydantic import SecretStr, ValidationError

import langchain_bge_cpu
import llamaindex_bge_cpu
from bge_cpu import InputError, Reranker, ServiceError
from bge_cpu.adapters import RankOptions
from bge_cpu.remote import RemoteReranker
from tests.service.serving import TRAP, Service, figure, long_documents, serving, wait

KEY = "a-key-of-the-tests-0123456789"
QUERY, DOCUMENTS = TRAP
Answer = tuple[int, dict[str, str], Any]  # status, headers, content
ADAPTERS = [langchain_bge_cpu.BgeCpuRerank, langchain_bge_cpu.BgeCpuCrossEncoder, llamaindex_bge_cpu.BgeCpuRerank]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving("--model", "mini", "--mode", "onnx", environ={"BGE_CPU_API_KEYS": KEY}) as service:
        yield service


@pytest.fixture(scope="module")
def local() -> Reranker:
    return Reranker.load("mini", mode="onnx")


@pytest.mark.model
@pytest.mark.parametrize("normalize", ["sigmoid", "softmax", None])
@pytest.mark.parametrize("long", ["truncate", "windows"])
@pytest.mark.filterwarnings("ignore:.*cut to max_length=512")
def test_the_service_says_what_the_library_says(service: Service, local: Reranker, normalize: Any, long: Any) -> None:
    documents = [*DOCUMENTS, "", long_documents(1, 900)[0]]
    options = RankOptions(base_url=service.url, api_key=SecretStr(KEY), normalize=normalize, long_documents=long)
    expected = list(local.rank(QUERY, documents, top_n=4, normalize=normalize, long_documents=long))
    assert options.ranked(QUERY, documents, 4) == expected
    assert asyncio.run(options.aranked(QUERY, documents, 4)) == expected
    assert options.ranked(QUERY, [], None) == []


@pytest.mark.model
async def test_adapters_give_the_same_with_a_service(service: Service, local: Reranker) -> None:
    remote: dict[str, Any] = {"base_url": service.url, "api_key": KEY}
    there, here = (langchain_bge_cpu.BgeCpuRerank(**options) for options in (remote, {"reranker": local}))
    documents = [Document(text, id=str(number)) for number, text in enumerate(DOCUMENTS)]
    expected = here.compress_documents(documents, QUERY)
    assert expected[0].id == "1"
    assert there.compress_documents(documents, QUERY) == await there.acompress_documents(documents, QUERY) == expected
    pairs = [(QUERY, text) for text in DOCUMENTS] + [("q", DOCUMENTS[0]), (QUERY, "hi")]
    encoders = (langchain_bge_cpu.BgeCpuCrossEncoder(**options) for options in (remote, {"reranker": local}))
    assert len({tuple(encoder.score(pairs)) for encoder in encoders}) == 1
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in DOCUMENTS]
    theirs, ours = (llamaindex_bge_cpu.BgeCpuRerank(**options) for options in (remote, {"reranker": local}))
    best = ours.postprocess_nodes(nodes, query_str=QUERY)
    assert theirs.postprocess_nodes(nodes, query_str=QUERY) == best
    assert await theirs.apostprocess_nodes(nodes, query_str=QUERY) == best


@pytest.mark.model
async def test_a_cancelled_task_closes_its_request_and_the_service_drops_the_work(service: Service) -> None:
    options = RankOptions(base_url=service.url, api_key=SecretStr(KEY))
    with service.client(headers={"Authorization": f"Bearer {KEY}"}) as client:
        task = asyncio.create_task(options.aranked(QUERY, long_documents(300), None))
        await asyncio.to_thread(wait, lambda: figure(client, "bge_cpu_queue_requests") == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(wait, lambda: figure(client, "bge_cpu_queue_requests") == 0)


@pytest.mark.model
def test_a_wrong_key_is_refused_and_not_repeated(service: Service) -> None:
    with pytest.raises(ServiceError, match=r"refused \(401\)") as caught:
        RankOptions(base_url=service.url, api_key=SecretStr("not-the-right-one")).ranked(QUERY, DOCUMENTS, None)
    assert caught.value.status == 401 and "not-the-right-one" not in str(caught.value)
    assert service.log.count(KEY) == 0


@contextmanager
def saying(*answers: Answer) -> Iterator[tuple[str, list[float]]]:
    """A server that gives these answers, the last one for ever, and when it was asked."""
    asked: list[float] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(time.monotonic())
            status, headers, content = answers[min(len(asked), len(answers)) - 1]
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


GOOD: Answer = 200, {}, {"results": [{"index": 0, "relevance_score": 0.5}]}


def test_a_busy_service_is_asked_again_when_it_says() -> None:
    with saying((429, {"Retry-After": "1"}, {}), (503, {"Retry-After": "0"}, {}), GOOD) as (url, asked):
        assert RemoteReranker(url).rank("q", ["d"])[0].score == 0.5
        assert asyncio.run(RemoteReranker(url).arank("q", ["d"]))[0].score == 0.5
    assert len(asked) == 4 and asked[1] - asked[0] >= 1


@pytest.mark.parametrize(
    ("options", "after", "times"),
    [({"max_retries": 2}, "0", 3), ({"max_retries": 0}, "0", 1), ({"timeout": 2}, "60", 1), ({"timeout": 0.6}, "", 2)],
)
def test_but_not_for_ever(options: dict[str, Any], after: str, times: int) -> None:
    refused = pytest.raises(ServiceError, match=r"refused \(429\): the queue is full")
    with saying((429, {"Retry-After": after}, {"message": "the queue is full"})) as (url, asked), refused as caught:
        RemoteReranker(url, **options).rank("q", ["d"])
    assert caught.value.status == 429 and len(asked) <= times


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((413, {}, {"message": "2000 documents"}), r"refused \(413\): 2000 documents\nhint: send fewer"),
        ((302, {"Location": "http://127.0.0.1:9/"}, b""), r"refused \(302\)"),
        ((200, {}, b"<html>"), "no bge-cpu service"),
        ((200, {}, [1]), "no bge-cpu service"),
        ((200, {}, {"results": [{"index": 7, "relevance_score": 0.5}]}), "no bge-cpu service"),
        ((200, {}, {"results": [{"index": 0, "relevance_score": None}]}), "no bge-cpu service"),
        ((200, {}, {"results": []}), "no bge-cpu service"),
        ((200, {}, {"results": [GOOD[2]["results"][0]] * 2}), "no bge-cpu service"),
    ],
)
def test_other_answers_are_errors_at_once(answer: Answer, said: str) -> None:
    with saying(answer) as (url, asked), pytest.raises(ServiceError, match=said):
        RemoteReranker(url).rank("q", ["d"])
    assert len(asked) == 1


def test_nobody_there() -> None:
    with saying(GOOD) as (url, _):
        pass
    with pytest.raises(ServiceError, match="cannot be reached") as caught:
        RemoteReranker(url).rank("q", ["d"])
    assert caught.value.status is None


def test_what_the_service_warns_of_is_a_warning() -> None:
    answer: Answer = (200, {}, {**GOOD[2], "meta": {"warnings": ["cut to 512"]}})
    with saying(answer) as (url, _), pytest.warns(UserWarning, match="says: cut to 512"):
        RemoteReranker(url).rank("q", ["d"])


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_options_that_do_not_go_together_are_refused_and_show_no_key(adapter: Any, tiny_reranker: Reranker) -> None:
    here: dict[str, Any] = {"base_url": "http://127.0.0.1:1", "api_key": KEY}
    wrong: list[dict[str, Any]] = [
        *(here | {name: value} for name, value in {"model": "mini", "mode": "onnx", "preload": True}.items()),
        *(here | {"reranker": tiny_reranker}, here | {"timeout": 0}, here | {"no_such": 1}),
        *({"api_key": KEY}, {"timeout": 5}, {"max_retries": 1}, here | {"api_key": KEY + "\n"}),
        *(
            here | {"base_url": url}
            for url in ("", "127.0.0.1:1", "http://u:p@h", "ftp://h", "http://h/?a", "http://:1")
        ),
    ]
    for options in wrong:
        with pytest.raises(ValidationError) as caught:
            adapter(**options)
        assert KEY not in str(caught.value) + repr(caught.value), options
        with pytest.raises(ValidationError) as caught:
            adapter(**options | ({"api_key": SecretStr(options["api_key"])} if "api_key" in options else {}))
        assert KEY not in str(caught.value) + repr(caught.value.errors()), options
    with pytest.raises(InputError, match="nothing is loaded"):
        adapter(**here).loaded()


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_key_is_never_written_down_or_shown(adapter: Any) -> None:
    one = adapter(base_url="http://127.0.0.1:1/", api_key=KEY)
    assert one.model_copy(deep=True) == one != adapter(base_url="http://127.0.0.1:1/", api_key=KEY + "x")
    pickled = pickle.dumps(one)
    written = [repr(one), str(one), one.model_dump_json(), str(one.model_dump()), str(pickled), repr(one.remote())]
    written.append(str(one.to_dict()) if hasattr(one, "to_dict") else str(dumpd(one)))
    assert not any(KEY in text for text in written)
    assert pickle.loads(pickled).api_key is None and pickle.loads(pickled).base_url == one.base_url
    assert one.api_key.get_secret_value() == KEY


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_langchain_gives_the_key_back() -> None:
    one = langchain_bge_cpu.BgeCpuRerank(base_url="http://127.0.0.1:1", api_key=SecretStr(KEY))
    known: dict[str, Any] = {"valid_namespaces": ["langchain_bge_cpu"], "allowed_objects": [type(one)]}
    assert load(dumpd(one), secrets_map={"BGE_CPU_API_KEY": KEY}, **known) == one
    plain = langchain_bge_cpu.BgeCpuRerank(base_url="http://127.0.0.1:1")
    assert load(dumpd(plain), **known) == plain
