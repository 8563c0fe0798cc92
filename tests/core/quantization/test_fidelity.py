"""How far INT8 strays from float32."""

import numpy as np
import pytest

from bge_cpu.quantization.fidelity import spearman


def test_spearman_by_hand() -> None:
    one = np.array([1, 2, 3, 4], np.float32)
    assert spearman(one, one * 7) == pytest.approx(1)
    assert spearman(one, -one) == pytest.approx(-1)
    assert spearman(one, np.array([1, 3, 2, 4], np.float32)) == pytest.approx(0.8)
    assert spearman(np.array([1, 1, 2, 2], np.float32), one) == pytest.approx(0.894427)
    assert np.isnan(spearman(one, np.ones(4, np.float32)))
