"""One service for the tests that change nothing about it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from tests.service.serving import Service


@pytest.fixture(scope="session")
def service() -> "Iterator[Service]":
    """`mini` in the default mode, one process, JSON logs."""
    from tests.service.serving import serving  # which skips a test module where the extra is missing

    with serving("--model", "mini", "--log-format", "json") as started:
        yield started
        broken = [line for line in started.lines if '"status": 500' in line or '"failed"' in line]
        assert broken == []


@pytest.fixture
def client(service: "Service") -> Iterator[httpx.Client]:
    with service.client() as opened:
        yield opened
