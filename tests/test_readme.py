"""The README's Python blocks run as written, with the small checkpoint in place of the large one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.model
@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block_runs(mini: Path, number: int) -> None:
    block = BLOCKS[number].replace("BAAI/bge-reranker-v2-m3", str(mini))
    assert block != BLOCKS[number]
    assert len(block.splitlines()) <= 12
    block += "\nif 'ranking' in globals(): print(ranking[0].document)"  # what a notebook shows by itself
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].endswith("糖尿病足患者应注意足部清洁,避免感染,定期检查皮肤破损。")


def test_there_is_a_block_to_run() -> None:
    assert BLOCKS
