"""The service on Ray Serve: its own endpoints, asked by the SDK that people have."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'bge-cpu[ray]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("cluster"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Ray itself
]


@pytest.fixture
def url(mini: Path) -> Iterator[str]:
    from ray import serve

    from bge_cpu.ray import serve_app

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(serve_app("mini", mode="onnx", max_replicas=2), name="rerank")
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()


@pytest.mark.model
def test_it_speaks_to_the_cohere_sdk(url: str) -> None:
    cohere = pytest.importorskip("cohere", reason="needs cohere")
    httpx = pytest.importorskip("httpx")
    documents = ["足疗店提供全身按摩服务。", "糖尿病足患者应注意足部清洁,避免感染,定期检查皮肤破损。"]
    with httpx.Client(timeout=60) as http:
        client = cohere.ClientV2(api_key="none", base_url=url, httpx_client=http)
        answer = client.rerank(model="mini", query="如何治疗糖尿病足?", documents=documents, top_n=1)
        assert [result.index for result in answer.results] == [1]
        assert http.get(f"{url}/health").json() == {"status": "ok"}
        assert http.get(f"{url}/info").json()["mode"] == "onnx"
