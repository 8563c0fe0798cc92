"""A service with narrow limits and keys: what it turns away, and that it is as before afterwards."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bge_cpu.cli import main
from tests.service.serving import SECONDS, Service, figure, long_documents, raw, serving, wait

pytestmark = pytest.mark.model

FILED, SET = "a-key-from-the-file-001", "a-key-from-the-environment-2"
KEY = {"Authorization": f"Bearer {FILED}"}


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(FILED)
    options = ("--max-queue-tokens", "8000", "--max-body", "60000", "--timeout", "4", "--api-keys-file", str(keys))
    with serving("--model", "mini", *options, environ={"BGE_CPU_API_KEYS": SET}) as started:
        yield started


@pytest.fixture
def client(strict: Service) -> Iterator[httpx.Client]:
    with strict.client(headers=KEY) as opened:
        yield opened


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank", "/info", "/metrics", "/nothing"])
@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}])
def test_without_a_key(strict: Service, path: str, header: dict[str, str]) -> None:
    with strict.client() as client:
        answer = client.post(path, json={}, headers=header)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/", "/health", "/ready", "/openapi.json", "/page.js"])
def test_what_is_open_to_all(strict: Service, path: str) -> None:
    with strict.client() as client:
        assert client.get(path).status_code == 200


@pytest.mark.parametrize("key", [FILED, SET])
def test_with_either_key(strict: Service, key: str) -> None:
    with strict.client(headers={"Authorization": f"Bearer {key}"}) as client:
        assert client.post("/rerank", json={"query": "a", "texts": ["b"]}).status_code == 200


def test_what_never_fits_is_413(client: httpx.Client) -> None:
    answer = client.post("/v2/rerank", json={"query": "panda", "documents": long_documents(30)})
    assert answer.status_code == 413
    assert "the queue holds at most 8000" in answer.json()["message"]
    answer = client.post("/v2/rerank", json={"query": "panda", "documents": ["b" * 60_000]})
    assert answer.json() == {"message": "the body is larger than 60000 bytes"}


def test_overload_is_429_and_over_at_once(strict: Service, client: httpx.Client) -> None:
    body = {"query": "panda", "documents": long_documents(12)}
    statuses: list[httpx.Response] = []

    def send() -> None:
        with strict.client(headers=KEY) as other:
            statuses.append(other.post("/rerank", json=body))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait(lambda: client.get("/ready").status_code == 503)
    for thread in threads:
        thread.join(SECONDS)
    refused = [answer for answer in statuses if answer.status_code == 429]
    assert refused
    assert all(1 <= int(answer.headers["Retry-After"]) <= 60 for answer in refused)
    assert all(answer.json()["error_type"] == "Overloaded" for answer in refused)
    assert {answer.status_code for answer in statuses} <= {200, 429, 504}  # 504 where the machine is busy
    wait(lambda: figure(client, "bge_cpu_queue_tokens") == 0)
    assert client.get("/ready").json() == {"ready": True}
    assert client.post("/rerank", json={"query": "a", "texts": ["b"]}).status_code == 200


def test_a_body_that_never_ends(strict: Service) -> None:
    head = f"POST /rerank HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {FILED}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
    assert raw(strict, head.encode(), seconds=60).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--host", "0.0.0.0"), "0.0.0.0 can be reached by others, and there is no API key"),
        (("--host", "somewhere"), "--host is an IP address or localhost"),
        (("--processes", "0"), "--processes is from 1 to"),
        (("--processes", "2", "--threads", "1"), "--processes is from 1 to 1"),
        (("--timeout", "0"), "--timeout is a number of seconds above 0"),
        (("--timeout", "nan"), "--timeout is a number of seconds above 0"),
        (("--max-body", "0"), "--max-body is a whole number of at least 1"),
        (("--api-keys-file", "/nowhere"), "cannot be read"),
    ],
)
def test_wrong_options(capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str) -> None:
    with pytest.raises(SystemExit) as left:
        main(["serve", "--model", "mini", *options])
    assert left.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_model_that_is_none(tmp_path: Path, processes: str) -> None:
    service = Service("--model", str(tmp_path), "--processes", processes)
    assert service.process.wait(SECONDS) == 1
    wait(lambda: "config.json cannot be read" in service.log)
    assert "Traceback" not in service.log


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_model_that_does_not_load(tiny_xlmr: Path, tmp_path: Path, processes: str) -> None:
    shutil.copytree(tiny_xlmr, tmp_path / "model")
    (tmp_path / "model/tokenizer.json").write_text("{}")
    service = Service("--model", str(tmp_path / "model"), "--processes", processes)
    assert service.process.wait(SECONDS) == 1
    wait(lambda: "the service did not start" in service.log)
    assert "is not a readable tokenizer" in service.log
    assert "Traceback" not in service.log


def test_a_port_that_is_taken(strict: Service) -> None:
    service = Service("--model", "mini", "--port", strict.url.rpartition(":")[2])
    assert service.process.wait(SECONDS) == 1
    wait(lambda: "cannot listen on 127.0.0.1" in service.log)
