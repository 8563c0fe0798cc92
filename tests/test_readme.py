"""The Python blocks of both READMEs run as written; if asked for, in an environment made by the lines beside them."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RIGHT = {
    "README.md": "A python waits in ambush and coils around its prey.",
    "README.zh-CN.md": "糖尿病足患者应注意足部清洁,避免感染,定期检查皮肤破损。",
}
NAMES = tuple(RIGHT)


@dataclass(frozen=True)
class Block:
    """A Python block, what its reader has installed before it, what it puts first, and the output shown after it."""

    code: str
    right: str
    installed: tuple[str, ...]
    output: str


def blocks(name: str) -> list[Block]:
    """The Python blocks of a README; a section's `pip install` lines stand before its block."""
    found = []
    for section in re.split(r"^## ", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE):
        installed = re.findall(r"^\$ pip install (.*?)(?:    #.*)?$", section, re.MULTILINE)
        for code, output in re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", section, re.DOTALL):
            found.append(Block(code, RIGHT[name], tuple(installed), output))
    return found


BLOCKS = {f"{name}-{number}": block for name in NAMES for number, block in enumerate(blocks(name))}


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[str, ...]], Path]:
    """The Python of a new environment in which some `pip install` lines were run."""
    folder = tmp_path_factory.mktemp("environments")

    @cache
    def wheel() -> Path:
        _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
        (found,) = folder.glob("*.whl")
        return found

    @cache
    def made(installed: tuple[str, ...]) -> Path:
        home = folder / str(len(list(folder.iterdir())))
        _run(sys.executable, "-m", "venv", str(home))
        python = home / "bin/python"
        for line in installed:
            words = [re.sub(r"^\.(?=$|\[)", str(wheel()), word.strip("'")) for word in line.split()]
            _run(str(python), "-m", "pip", "install", "--quiet", *words)
        return python

    return made


@pytest.mark.model
@pytest.mark.parametrize("name", BLOCKS)
def test_block_runs(name: str) -> None:
    _check(BLOCKS[name], Path(sys.executable))


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.skipif("BGE_TEST_INSTALL" not in os.environ, reason="installs a lot; set BGE_TEST_INSTALL to run it")
@pytest.mark.parametrize("name", BLOCKS)
def test_block_runs_in_the_environment_beside_it(name: str, environments: Callable[[tuple[str, ...]], Path]) -> None:
    assert BLOCKS[name].installed
    _check(BLOCKS[name], environments(BLOCKS[name].installed))


def _check(block: Block, python: Path) -> None:
    assert '"mini"' in block.code
    assert len(block.code.splitlines()) <= 12
    said = _run(str(python), "-c", block.code).splitlines()
    assert said[0].endswith(block.right)
    shown = block.output.splitlines()
    assert [line.split()[1:] for line in shown] == [line.split()[1:] for line in said[: len(shown)]]
    for ours, theirs in zip(shown, said, strict=False):  # INT8's last digits depend on the CPU
        assert float(ours.split()[0]) == pytest.approx(float(theirs.split()[0]), abs=0.02)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_there_are_blocks_to_run(name: str) -> None:
    assert len(blocks(name)) >= 3


@pytest.mark.parametrize("name", NAMES)
def test_it_is_short(name: str) -> None:
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= 120


def test_both_have_the_same_blocks() -> None:
    """But for their comments and texts."""

    def bare(code: str) -> str:
        without = re.sub("  # .*", "", code)
        return re.sub(
            r'"([^"\n]*)"', lambda found: "TEXT" if re.search("[ \u3400-\u9fff]", found[1]) else found[0], without
        )

    english, chinese = ([bare(block.code) for block in blocks(name)] for name in NAMES)
    assert english == chinese
    assert [block.installed for block in blocks(NAMES[0])] == [block.installed for block in blocks(NAMES[1])]


def test_figures_are_those_that_were_measured() -> None:
    pytest.importorskip("matplotlib")
    done = subprocess.run(
        [sys.executable, "benchmarks/tables.py", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
