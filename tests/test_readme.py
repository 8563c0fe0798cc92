"""The Python blocks of both READMEs run as written, with the small checkpoint in place of the large one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("README.md", "README.zh-CN.md")
BLOCKS = {
    f"{name}-{number}": block
    for name in NAMES
    for number, block in enumerate(
        re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
    )
}
RIGHT = "糖尿病足患者应注意足部清洁,避免感染,定期检查皮肤破损。"


@pytest.mark.model
@pytest.mark.parametrize("name", BLOCKS)
def test_block_runs(mini: Path, name: str) -> None:
    block = BLOCKS[name].replace('"BAAI/bge-reranker-v2-m3"', repr(str(mini)))
    assert block != BLOCKS[name] or '"mini"' in block
    assert len(block.splitlines()) <= 12
    block += "\nif 'ranking' in globals(): print(ranking[0].document)"  # what a notebook shows by itself
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].endswith(RIGHT)


@pytest.mark.parametrize("name", NAMES)
def test_there_are_blocks_to_run(name: str) -> None:
    assert sum(block.startswith(name) for block in BLOCKS) >= 3


def test_both_have_the_same_calls() -> None:
    both = [
        re.findall(r"^\| `(reranker\.\w+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE) for name in NAMES
    ]
    assert both[0] == both[1] != []
