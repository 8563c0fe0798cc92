"""Confidence intervals."""

import math
from dataclasses import asdict

import numpy as np
import pytest

from bge_cpu.evaluation import interval
from bge_cpu.evaluation.bootstrap import SAMPLES


def test_bootstrap() -> None:
    assert asdict(interval(np.zeros(50))) == {"mean": 0, "low": 0, "high": 0}
    assert asdict(interval(np.full(7, 0.25))) == {"mean": 0.25, "low": 0.25, "high": 0.25}
    coins = np.tile([0.0, 1.0], 200)
    found = interval(coins)
    half = 1.96 * 0.5 / math.sqrt(len(coins))  # the normal approximation
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.003)
    assert interval(coins) == found
    noise = np.random.default_rng(0).normal(size=30)
    assert interval(noise, seed=1) != interval(noise) == interval(noise)
    assert interval(coins, samples=3 * SAMPLES).low == pytest.approx(found.low, abs=0.003)
    assert type(found.mean) is type(found.low) is float
    assert interval(coins, level=0.5).low > found.low
