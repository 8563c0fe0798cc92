"""What the endpoints answer; scores are the library's, to the bit."""

import json
import threading

import httpx
import pytest

from bge_cpu import Reranker
from bge_cpu.engines import default_mode
from tests.service.serving import BASIC, SECONDS, TRAP, Service, figure, long_documents, wait

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def reranker() -> Reranker:
    return Reranker.load("mini")


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
@pytest.mark.parametrize(("query", "documents"), [BASIC, TRAP])
def test_cohere(client: httpx.Client, reranker: Reranker, path: str, query: str, documents: list[str]) -> None:
    body = {"model": "rerank-v3.5", "query": query, "documents": documents}
    answer = client.post(path, json=body).raise_for_status().json()
    ranking = reranker.rank(query, documents)
    found = [(result["index"], result["relevance_score"]) for result in answer["results"]]
    assert found == [(item.index, item.score) for item in ranking]
    assert found[0][0] == 1
    assert answer["model"] == "mini"
    assert answer["usage"] == {"total_tokens": answer["meta"]["tokens"]["input_tokens"]}
    assert "warnings" not in answer["meta"]


@pytest.mark.parametrize("normalize", ["sigmoid", "softmax", "none"])
def test_normalize(client: httpx.Client, reranker: Reranker, normalize: str) -> None:
    query, documents = TRAP
    answer = client.post("/v2/rerank", json={"query": query, "documents": documents, "normalize": normalize}).json()
    ranking = reranker.rank(query, documents, normalize=None if normalize == "none" else normalize)
    assert [result["relevance_score"] for result in answer["results"]] == [item.score for item in ranking]


def test_tei(client: httpx.Client, reranker: Reranker) -> None:
    query, documents = TRAP
    body = {"query": query, "texts": documents, "raw_scores": True, "return_text": True, "truncate": True}
    answer = client.post("/rerank", json=body).raise_for_status().json()
    ranking = reranker.rank(query, documents, normalize=None)
    assert answer == [{"index": item.index, "score": item.score, "text": item.document} for item in ranking]
    answer = client.post("/rerank", json={"query": query, "texts": documents}).json()
    assert [item["score"] for item in answer] == [item.score for item in reranker.rank(query, documents)]


def test_objects_top_n_and_returned_documents(client: httpx.Client) -> None:
    query, documents = TRAP
    objects = [{"text": document, "title": 7} for document in documents]
    body = {"query": query, "documents": objects, "top_n": 2, "return_documents": True}
    answer = client.post("/v1/rerank", json=body).raise_for_status().json()
    assert [result["document"]["text"] for result in answer["results"]] == [documents[1], documents[2]]


def test_nothing_is_cut_or_ignored_in_silence(client: httpx.Client) -> None:
    body = {"query": "panda", "documents": [*long_documents(1, 900), ""], "max_tokens_per_doc": 100, "topn": 1}
    answer = client.post("/v2/rerank", json=body).raise_for_status().json()
    assert len(answer["results"]) == 2
    assert answer["meta"]["warnings"] == [
        "cut to max_length=512 tokens: 1 of the pairs",
        "max_tokens_per_doc has no effect: pairs are cut to max_length=512 tokens",
        "fields that are not known here and had no effect: 1",
    ]
    assert [
        result.get("truncated_tokens", 0) > 0 for result in sorted(answer["results"], key=lambda r: r["index"])
    ] == [
        True,
        False,
    ]


def test_windows(client: httpx.Client, reranker: Reranker) -> None:
    documents = [*long_documents(1, 900), TRAP[1][1]]
    body = {"query": TRAP[0], "documents": documents, "long_documents": "windows"}
    answer = client.post("/v2/rerank", json=body).raise_for_status().json()
    ranking = reranker.rank(TRAP[0], documents, long_documents="windows")
    assert [(result["relevance_score"], tuple(result["span"])) for result in answer["results"]] == [
        (item.score, item.span) for item in ranking
    ]


def test_tei_refuses_long_texts_where_asked(client: httpx.Client) -> None:
    answer = client.post("/rerank", json={"query": "panda", "texts": long_documents(1, 900), "truncate": False})
    assert answer.status_code == 422
    assert answer.json()["error_type"] == "Validation"


@pytest.mark.parametrize("how", ["body", "header"])
def test_time_runs_out(client: httpx.Client, how: str) -> None:
    body: dict[str, object] = {"query": "panda", "documents": long_documents(200)}
    headers = {}
    if how == "body":
        body["timeout"] = 0.2
    else:
        headers["X-Request-Timeout"] = "0.2"
    answer = client.post("/v2/rerank", json=body, headers=headers)
    assert answer.status_code == 504
    assert answer.json() == {"message": "no answer within the time allowed"}
    wait(lambda: figure(client, "bge_cpu_queue_tokens") == 0)  # the rest of the work is dropped


def test_the_original_order_when_time_runs_out(client: httpx.Client) -> None:
    documents = long_documents(200)
    body = {"query": "panda", "documents": documents, "timeout": 0.2, "fallback": True, "top_n": 3}
    answer = client.post("/v2/rerank", json=body)
    assert answer.status_code == 200
    assert answer.headers["X-Rerank-Fallback"] == "true"
    assert answer.json()["fallback"] is True
    assert answer.json()["results"] == [{"index": index, "relevance_score": None} for index in range(3)]
    wait(lambda: figure(client, "bge_cpu_queue_tokens") == 0)
    answer = client.post("/rerank", json={"query": "panda", "texts": documents, "timeout": 0.2, "fallback": True})
    assert answer.json() == [{"index": index, "score": None} for index in range(200)]


def test_a_short_request_is_not_held_up_by_a_long_one(service: Service, client: httpx.Client) -> None:
    done = []

    def rank_many() -> None:
        with service.client() as other:
            other.post("/v2/rerank", json={"query": "panda", "documents": long_documents(20)}).raise_for_status()
        done.append("long")

    long = threading.Thread(target=rank_many)
    long.start()
    wait(lambda: figure(client, "bge_cpu_queue_tokens") > 0)
    client.post("/v2/rerank", json={"query": "panda", "documents": ["bamboo"] * 5}).raise_for_status()
    done.append("short")
    long.join(SECONDS)
    assert done == ["short", "long"]


def test_the_work_of_a_client_that_hung_up_is_dropped(service: Service, client: httpx.Client) -> None:
    computed = figure(client, "bge_cpu_pairs_total")
    with pytest.raises(httpx.ReadTimeout), service.client() as other:
        other.post("/v2/rerank", json={"query": "panda", "documents": long_documents(200)}, timeout=0.3)
    wait(lambda: figure(client, "bge_cpu_queue_requests") == 0)
    assert figure(client, "bge_cpu_pairs_total") == computed
    wait(lambda: '"status": 499' in service.log)


def test_health_readiness_info(client: httpx.Client) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"ready": True}
    info = client.get("/info").json()
    assert (info["model"], info["mode"], info["max_length"]) == ("mini", default_mode(), 512)
    assert info["limits"]["documents"] == 1000


def test_metrics(client: httpx.Client) -> None:
    before = {name: figure(client, name) for name in ("bge_cpu_pairs_total", "bge_cpu_compute_seconds_count")}
    client.post("/v2/rerank", json={"query": "a", "documents": ["b", "c"]}).raise_for_status()
    assert figure(client, "bge_cpu_pairs_total") == before["bge_cpu_pairs_total"] + 2
    assert figure(client, "bge_cpu_compute_seconds_count") == before["bge_cpu_compute_seconds_count"] + 1
    assert figure(client, "bge_cpu_resident_memory_bytes") > 50e6


def test_request_ids_and_logs_without_texts(service: Service, client: httpx.Client) -> None:
    secret = "a-secret-of-the-client"
    body = {"query": secret, "documents": [secret]}
    answer = client.post(f"/v2/rerank?{secret}", json=body, headers={"X-Request-Id": "my-id.7"})
    assert answer.headers["X-Request-Id"] == "my-id.7"
    assert answer.json()["id"] == "my-id.7"
    assert client.get(f"/{secret}", headers={"X-Request-Id": f"{secret} {secret}"}).status_code == 404
    wait(lambda: "my-id.7" in service.log)
    line = next(json.loads(line) for line in service.lines if "my-id.7" in line)
    assert (line["endpoint"], line["status"], line["documents"]) == ("/v2/rerank", 200, 1)
    assert secret not in service.log


def test_no_other_site_may_read(client: httpx.Client) -> None:
    answer = client.options(
        "/v2/rerank", headers={"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    )
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]
