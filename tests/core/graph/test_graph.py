"""Architecture -> ONNX graph: valid, over exactly the checkpoint's tensors, with the inputs and output it says."""

import json
from functools import partial
from pathlib import Path

import onnx
import pytest

from bge_cpu.checkpoint.architecture import Architecture
from bge_cpu.checkpoint.weights import Weights
from bge_cpu.graph import build
from bge_cpu.graph.feed import Batch, Packed
from bge_cpu.graph.linear import Float32, Int8


@pytest.fixture
def architecture(tiny: Path) -> Architecture:
    return Architecture.from_config(json.loads((tiny / "config.json").read_text()))


def test_in_float32_it_wants_the_checkpoints_tensors_and_no_other(tiny: Path, architecture: Architecture) -> None:
    weights = Weights([tiny / "model.safetensors"])
    _, shapes = build(architecture, Float32())
    assert shapes == {name: weights.shape(name) for name in weights}


def test_in_int8_each_matrix_has_its_scales(architecture: Architecture) -> None:
    floats, codes = (build(architecture, linear)[1] for linear in (Float32(), Int8()))
    scales = {name for name in codes if name.endswith(".scales")}
    assert set(codes) - scales == set(floats)
    assert {name.removesuffix(".scales") for name in scales} < set(floats)


@pytest.mark.parametrize("linear", [Float32(), Int8()], ids=["float32", "int8"])
def test_inputs_and_output(architecture: Architecture, linear: Float32 | Int8) -> None:
    found = {}
    for feed in (Packed, partial(Batch, typed=True), partial(Batch, typed=False)):
        model, _ = build(architecture, linear, feed)
        found[tuple(value.name for value in model.graph.input)] = [value.name for value in model.graph.output]
        assert {value.type.tensor_type.elem_type for value in model.graph.input} == {onnx.TensorProto.INT64}
        assert {value.type.tensor_type.elem_type for value in model.graph.output} == {onnx.TensorProto.FLOAT}
    assert found == {
        ("input_ids", "token_type_ids", "position_ids", "cu_seqlens"): ["logits"],
        ("input_ids", "attention_mask", "token_type_ids"): ["logits"],
        ("input_ids", "attention_mask"): ["logits"],
    }
