"""One service for the tests that change nothing about it."""

from collections.abc import Iterator

import httpx
import pytest

pytest.importorskip("fastapi", reason="needs the extra service")
pytest.importorskip("uvicorn", reason="needs the extra service")
pytest.importorskip("prometheus_client", reason="needs the extra service")

from service.serving import Service, serving


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """`mini` in the default mode, one process, JSON logs."""
    with serving("--model", "mini", "--log-format", "json") as started:
        yield started


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as opened:
        yield opened
