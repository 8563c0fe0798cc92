"""The tiny checkpoints and the fakes that tests share."""

import doctest
import json
from pathlib import Path

import pytest

from tests import checkpoints, fakes
from tests.modes import needs_torch


def test_config_of_the_tiny_checkpoints_is_the_published_form(tiny: Path) -> None:
    config = json.loads((tiny / "config.json").read_text())
    assert config["architectures"][0].endswith("ForSequenceClassification")
    assert list(config["id2label"]) == ["0"]


@pytest.mark.parametrize("family", checkpoints.CLASSES)
def test_always_the_same(tmp_path: Path, family: str) -> None:
    one, other = (checkpoints.make(tmp_path / name, family) for name in ("one", "other"))
    for file in one.iterdir():
        assert file.read_bytes() == (other / file.name).read_bytes()


@needs_torch
@pytest.mark.slow
def test_transformers_finds_every_tensor_it_wants_and_no_other(tiny: Path) -> None:
    transformers = pytest.importorskip("transformers")
    _, report = transformers.AutoModelForSequenceClassification.from_pretrained(tiny, output_loading_info=True)
    assert not any(report.values()), report


def test_the_example_of_the_fakes() -> None:
    results = doctest.testmod(fakes)
    assert results.attempted and not results.failed
