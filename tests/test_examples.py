"""Every example runs as a user would run it, with a trained checkpoint; the notebook through nbmake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
RIGHT = "阳光穿过大气时,波长较短的蓝光被空气分子散射得最多,所以我们看到天空呈蓝色。"
WRONG = "蓝天幼儿园的天空教室为什么总是排队?因为名额有限。"


def run(name: str, model: Path) -> str:
    command = [sys.executable, str(EXAMPLES / name), "--model", str(model)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.model
def test_article_basic(mini: Path) -> None:
    _, right, wrong = run("article_basic.py", mini).splitlines()
    assert right.endswith("人工智能是让机器模拟人类智能行为的技术。")
    assert float(right.split()[0]) > float(wrong.split()[0])


@pytest.mark.model
def test_article_keyword_trap(mini: Path) -> None:
    first = run("article_keyword_trap.py", mini).splitlines()[1]
    assert first.endswith("糖尿病足患者应注意足部清洁,避免感染,定期检查皮肤破损。")
    assert float(first.split()[0]) > 0.5


@pytest.mark.model
def test_langchain_retriever(mini: Path) -> None:
    before, after = run("langchain_retriever.py", mini).split("reranked:")
    assert before.index(WRONG) < before.index(RIGHT)
    assert after.index(RIGHT) < after.index(WRONG)


@pytest.mark.model
def test_langchain_lcel(mini: Path) -> None:
    output = run("langchain_lcel.py", mini)
    assert f"Answer from this context:\n{RIGHT}" in output
    assert "Question: 天空为什么是蓝色的?" in output


@pytest.mark.model
def test_llamaindex_query_engine(mini: Path) -> None:
    sources, prompt = run("llamaindex_query_engine.py", mini).split("the LLM was asked:")
    assert sources.index(RIGHT) < sources.index(WRONG)
    assert prompt.index(RIGHT) < prompt.index("Query: 天空为什么是蓝色的?")


@pytest.mark.model
def test_notebook(mini: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbmake",
        "-q",
        str(EXAMPLES / "notebook.ipynb"),
        "-p",
        "no:cacheprovider",
    ]
    environment = os.environ | {"BGE_CPU_MODEL": str(mini)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment, cwd=EXAMPLES)
    assert "1 passed" in done.stdout, done.stdout


def test_notebook_is_committed_with_its_outputs() -> None:
    cells = json.loads((EXAMPLES / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]
    assert sum("text/html" in output.get("data", {}) for output in outputs) == 4
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1
    assert not any(output["output_type"] == "error" or output.get("name") == "stderr" for output in outputs)


@pytest.mark.parametrize("name", sorted(file.name for file in EXAMPLES.iterdir() if file.suffix in (".py", ".ipynb")))
def test_the_line_for_the_full_model_is_named(name: str) -> None:
    if name != "corpus.py":
        assert "BAAI/bge-reranker-v2-m3" in (EXAMPLES / name).read_text(encoding="utf-8")
