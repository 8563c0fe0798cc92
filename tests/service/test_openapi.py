"""The OpenAPI document, and a machine that sends what it allows and what it does not."""

from typing import Any

import httpx
import pytest

from tests.service.serving import Service

pytestmark = pytest.mark.model


def test_examples_run(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    examples = [example for name in ("CohereBody", "TeiBody") for example in schemas[name]["examples"]]
    assert len(examples) == 2
    for example in examples:
        client.post("/rerank", json=example).raise_for_status()
    assert {"/v1/rerank", "/v2/rerank", "/rerank", "/health", "/ready", "/info", "/metrics"} <= set(document["paths"])


def test_schemathesis(service: Service) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")
    hypothesis = pytest.importorskip("hypothesis")
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    names = ("not_a_server_error", "status_code_conformance", "response_schema_conformance", "content_type_conformance")
    checks = [check for check in schemathesis.checks.CHECKS.get_all() if check.__name__ in names]
    assert len(checks) == len(names)
    for found in schema.get_all_operations():
        operation = found.ok()

        def send(case: Any) -> None:
            case.headers.pop("X-Request-Timeout", None)  # next to no time is allowed, and 504 the right answer
            if isinstance(case.body, dict):
                case.body.pop("timeout", None)
            case.call_and_validate(base_url=service.url, checks=checks, timeout=60)

        few = hypothesis.settings(max_examples=25, deadline=None, derandomize=True, database=None)
        few(hypothesis.given(case=operation.as_strategy())(send))()
