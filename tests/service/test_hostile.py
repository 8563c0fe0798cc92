"""Requests that are wrong, on purpose or not: each gets its 4xx in one line that repeats nothing of it."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from bge_cpu.service import patience
from tests.service.serving import Service, raw

pytestmark = pytest.mark.model

SECRET = "xyzzy-plugh"
JSON = {"Content-Type": "application/json"}


def body(**fields: object) -> bytes:
    return json.dumps({"query": "a", "documents": ["b"]} | fields).encode()


BODIES = {
    "empty": (b"", 422),
    "not JSON": (b'{"query": "xyzzy-plugh"', 400),
    "not UTF-8": (b'{"query": "xyzzy-plugh \xff", "documents": ["b"]}', 400),
    "deep": (b"[" * 100_000, 400),
    "a long number": (body()[:-1] + b', "top_n": ' + b"9" * 5000 + b"}", 400),
    "a list": (b'["xyzzy-plugh"]', 422),
    "null": (b"null", 422),
    "no documents": (b'{"query": "xyzzy-plugh"}', 422),
    "zero documents": (body(documents=[]), 422),
    "documents as text": (body(documents=SECRET), 422),
    "a document as number": (body(documents=["b", 7]), 422),
    "a document without text": (body(documents=[{SECRET: SECRET}]), 422),
    "an empty query": (body(query=" \n"), 422),
    "a query as list": (body(query=[SECRET]), 422),
    "a lone surrogate": (body(query="\ud800 xyzzy-plugh"), 422),
    "a lone surrogate in a document": (body(documents=["\udfff xyzzy-plugh"]), 422),
    "top_n NaN": (body(top_n=float("nan")), 422),
    "top_n 0": (body(top_n=0), 422),
    "top_n as text": (body(top_n=SECRET), 422),
    "top_n true": (body(top_n=True), 422),
    "timeout infinite": (body(timeout=float("inf")), 422),
    "timeout negative": (body(timeout=-1), 422),
    "no such normalize": (body(normalize=SECRET), 422),
    "model with a path": (body(model="../../etc/passwd"), 422),
    "model with an absolute path": (body(model="/etc/passwd"), 422),
    "model with a path in it": (body(model="a/../../etc/passwd"), 422),
    "model with a null byte": (body(model="a\0b"), 422),
    "model with a newline": (body(model="mini\n"), 422),
    "too many documents": (body(documents=["b"] * 1001), 413),
    "a long document": (body(documents=["b" * 100_001]), 413),
    "a long query": (body(query="b" * 100_001), 413),
    "a large body": (body(documents=["b" * (8 * 2**20)]), 413),
}


@pytest.mark.parametrize("path", ["/v2/rerank", "/rerank"])
@pytest.mark.parametrize(
    ("content", "status"),
    BODIES.values(),
    ids=BODIES,
)
def test_refused(client: httpx.Client, path: str, content: bytes, status: int) -> None:
    answer = client.post(path, content=content, headers=JSON)
    check(answer, status)
    assert set(answer.json()) == ({"message", "error", "error_type"} if path == "/rerank" else {"message"})
    assert client.post(path, content=body(), headers=JSON).status_code == 200


def check(answer: httpx.Response, status: int) -> None:
    message = answer.json()["message"]
    assert answer.status_code == status, message
    assert len(message.splitlines()) == 1
    assert SECRET not in answer.text
    assert "passwd" not in answer.text


@pytest.mark.parametrize(
    ("field", "value"),
    [("texts", []), ("texts", SECRET), ("texts", [7]), ("raw_scores", SECRET), ("truncation_direction", "Left")],
)
def test_tei_bodies_are_refused_in_its_shape(client: httpx.Client, field: str, value: object) -> None:
    answer = client.post("/rerank", json={"query": "a", "texts": ["b"]} | {field: value})
    check(answer, 422)
    assert answer.json()["error_type"] == "Validation"
    assert answer.json()["error"].startswith(field)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
def test_other_types_of_content(client: httpx.Client, kind: str | None) -> None:
    answer = client.post("/v2/rerank", content=body(), headers={"Content-Type": kind} if kind else {})
    check(answer, 422)  # a page of another site may send these without asking first
    assert "application/json" in answer.json()["message"]


def test_fifty_megabytes(client: httpx.Client) -> None:
    check(client.post("/v2/rerank", content=b"x" * 50_000_000, headers=JSON), 413)


def test_fifty_megabytes_in_chunks(client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(50):
            yield b"x" * 1_000_000

    check(client.post("/v2/rerank", content=chunks(), headers=JSON), 413)


@pytest.mark.parametrize("value", ["nan", "-1", "0", "inf", SECRET])
def test_a_timeout_that_is_none(client: httpx.Client, value: str) -> None:
    check(client.post("/v2/rerank", content=body(), headers=JSON | {"X-Request-Timeout": value}), 422)


def test_paths_and_methods_that_are_none(client: httpx.Client) -> None:
    check(client.get(f"/{SECRET}/../../etc/passwd"), 404)
    check(client.get("/page/../../settings.py"), 404)
    check(client.get("/v2/rerank"), 405)
    check(client.delete("/health"), 405)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 40_000,
        b"POST /v2/rerank HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"POST /v2/rerank HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /v2/rerank HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_not_http(service: Service, client: httpx.Client, request_bytes: bytes) -> None:
    assert raw(service, request_bytes).startswith((b"HTTP/1.1 400", b""))
    assert client.get("/health").status_code == 200


def test_headers_that_never_end(service: Service, client: httpx.Client) -> None:
    """Three connections at once: silent, in the first line, in the headers."""
    sent = [b"", b"GET /health HT", b"POST /v2/rerank HTTP/1.1\r\nHost: a\r\nContent-Le"]
    with ThreadPoolExecutor(len(sent)) as threads:
        said = list(threads.map(lambda part: raw(service, part, seconds=patience.HEADER_SECONDS + 30), sent))
    assert said == [b"", b"", b""]
    assert client.get("/health").status_code == 200
