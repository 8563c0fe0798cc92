"""A toy: a few records in two languages, a tiny random base, and what the pipeline makes of them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import checkpoints

ROOT = Path(__file__).resolve().parents[2]
TOPICS = {
    "en": {
        "fox": "The quick brown fox jumps over the lazy dog. It jumps twice, if need be.",
        "rain": "It rains on the roof. The dog stays at home until the rain is over.",
        "table": "The table shows the results of the evaluation. Each row is a model.",
        "dog": "A lazy dog sleeps at home. It does not jump over the fox.",
        "model": "The model runs on a machine without a graphics card. It is slow.",
        "results": "Results are shown in a table. The evaluation has many rows.",
    },
    "zh": {
        "模型": "深度学习模型在没有显卡的机器上运行缓慢。量化可以减小体积。",
        "速度": "量化可以提高速度。模型的体积也减小了。",
        "机器": "没有显卡的机器也可以运行模型,只是缓慢。",
        "体积": "体积减小以后,模型运行的速度提高了。",
        "学习": "深度学习是一种机器学习。它需要很多数据。",
        "显卡": "显卡可以提高深度学习的速度。",
    },
}


Command = Callable[..., list[str]]
Runner = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def command() -> Command:
    """Module and arguments -> a command of the pipeline, to run in `ROOT`."""
    return lambda module, *arguments: [sys.executable, "-m", f"training.{module}", *map(str, arguments)]


@pytest.fixture(scope="session")
def run(command: Command) -> Runner:
    """Runs a command of the pipeline as a process of its own; an error if it fails."""
    return lambda *arguments: subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, check=True)


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 48 records: four questions about each passage, one in two with a negative."""
    file = tmp_path_factory.mktemp("records") / "records.jsonl"
    with file.open("w", encoding="utf-8") as stream:
        for lang, passages in TOPICS.items():
            for number, (topic, passage) in enumerate(passages.items()):
                other = list(passages.values())[number - 1]
                for count, form in enumerate(("what is {}?", "{}", "why the {}?", "{} {}")):
                    record = {
                        "query": form.format(topic, topic),
                        "positive": passage,
                        "negatives": [other] * (count % 2),
                        "lang": lang,
                        "source": "toy",
                    }
                    stream.write(json.dumps(record, ensure_ascii=False) + "\n")
    return file


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT encoder of random weights with three layers and a Unigram tokenizer with XLM-R's pair format."""
    folder = tmp_path_factory.mktemp("base")
    torch = pytest.importorskip("torch", reason="needs the extra torch")
    transformers = pytest.importorskip("transformers", reason="needs the extra torch")
    tokenizer = checkpoints.tokenizer("xlm-roberta")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=512,
        initializer_range=0.3,
        pad_token_id=1,
    )
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    return folder


@pytest.fixture(scope="session")
def lists(run: Runner, records: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What prepare.py makes of the records."""
    folder = tmp_path_factory.mktemp("lists")
    run("prepare", records, "--base", base, "--out", folder)
    return folder


@pytest.fixture(scope="session")
def small(run: Runner, lists: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What trim.py makes of the base."""
    folder = tmp_path_factory.mktemp("small")
    run("trim", base, folder, "--corpus", lists / "passages.jsonl", "--pieces", 215)
    return folder
