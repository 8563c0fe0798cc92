"""The tiny checkpoints that tests share."""

import json
from pathlib import Path


def test_config_of_the_tiny_checkpoints_is_the_published_form(tiny: Path) -> None:
    config = json.loads((tiny / "config.json").read_text())
    assert config["architectures"][0].endswith("ForSequenceClassification")
    assert list(config["id2label"]) == ["0"]
