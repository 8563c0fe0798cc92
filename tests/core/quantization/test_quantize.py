"""Float matrices -> INT8 codes."""

import numpy as np

from bge_cpu.quantization.quantize import equalize, quantize_rows, row_scales


def test_rows_quantize_within_half_a_step() -> None:
    table = np.random.default_rng(0).standard_normal((50, 64)).astype(np.float32)
    table[7] = 0
    for largest in (127, 63):
        scales = row_scales(table, largest)
        codes = quantize_rows(table, scales)
        assert np.abs(codes.astype(int)).max() == largest
        assert np.all(np.abs(codes * scales[:, None] - table) <= scales[:, None] / 2 * 1.001)
        assert not codes[7].any()


def test_equalizing_changes_nothing_in_float() -> None:
    rng = np.random.default_rng(0)
    value, bias, output = rng.standard_normal((8, 16)), rng.standard_normal(8), rng.standard_normal((16, 8))
    value[3], bias[3], output[:, 3] = value[3] * 50, bias[3] * 50, output[:, 3] / 50
    value[4] = 0  # all in float64, to compare closely
    balanced, balanced_bias, balanced_output = equalize(value, bias, output)  # type: ignore[arg-type]
    x = rng.standard_normal((5, 16))
    expected = (x @ value.T + bias) @ output.T
    assert np.allclose((x @ balanced.T + balanced_bias) @ balanced_output.T, expected)
    written, read = np.abs(balanced).max(axis=1), np.abs(balanced_output).max(axis=0)
    used = written > 0
    assert np.allclose(written[used], read[used])
