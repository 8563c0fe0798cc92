"""What a first start tells the log."""

import logging

import pytest

from bge_cpu.quantization.telling import tell


@pytest.mark.parametrize(("weights", "time"), [(59_000_000, "some seconds"), (2_271_000_000, "about half a minute")])
def test_the_time_follows_from_the_weights(caplog: pytest.LogCaptureFixture, weights: int, time: str) -> None:
    with caplog.at_level(logging.INFO, "bge_cpu"):
        tell("building this", weights)
    assert caplog.record_tuples == [("bge_cpu.quantization", logging.INFO, f"building this, once: {time}")]
