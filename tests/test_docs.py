"""What docs/ says runs: its Python blocks as written, its commands as far as their options, its links to other pages.

A block that needs what a test cannot give stands behind a comment, `<!-- not run: why -->`. Anchors and the API's
names are checked by `make docs`.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest
import typer

from bge_cpu.cli import app

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = {file.name: file.read_text(encoding="utf-8") for file in sorted(DOCS.glob("*.md"))}
_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<why>\S.*?) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
_ENDS_A_COMMAND = {"|", "||", "&&", ";", "&", ">", ">>", "<"}
_HALF_WIDTH = re.compile(r"[,;:!?()](?=[\u3400-\u9fff])|(?<=[\u3400-\u9fff])[,;:!?()]")


def blocks(kind: str) -> dict[str, str]:
    """The blocks of a kind that are to be run, by page and number."""
    return {
        f"{page}-{number}": found["text"]
        for page, text in PAGES.items()
        for number, found in enumerate(_BLOCK.finditer(text))
        if found["kind"] == kind and not found["why"]
    }


def commands() -> Iterator[tuple[str, list[str]]]:
    """What bge-cpu is given in each line of the console blocks that calls it, with the line's page."""
    for name, block in blocks("console").items():
        for line in block.replace("\\\n", " ").splitlines():
            if found := re.match(r"\$ (?:\w+=\S* )*bge-cpu (.*)", line):
                words = shlex.split(found[1], comments=True)
                yield name, list(takewhile(lambda word: word not in _ENDS_A_COMMAND, words))


PYTHON = blocks("python")
COMMANDS = list(commands())


@pytest.mark.model
@pytest.mark.parametrize("name", PYTHON)
def test_block_runs(mini: Path, tmp_path: Path, name: str) -> None:
    if "transformers" in PYTHON[name]:
        pytest.importorskip("transformers", reason="the block imports transformers")
    block = PYTHON[name].replace('"BAAI/bge-reranker-v2-m3"', repr(str(mini)))
    assert block != PYTHON[name] or '"mini"' in block
    done = subprocess.run(
        [sys.executable, "-c", block],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
        cwd=tmp_path,
        env=os.environ | {"PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert "False" not in done.stdout.split()  # a block that compares shows that it is so


def test_a_block_that_is_not_run_says_why() -> None:
    behind = re.compile(r"(?P<comment><!--.*?-->\n)\s*```python")
    for page, text in PAGES.items():
        for found in behind.finditer(text):
            assert _BLOCK.match(text, found.start()), f"{page}: {found['comment']}"


@pytest.mark.parametrize("words", [words for _, words in COMMANDS], ids=[" ".join([n, *w]) for n, w in COMMANDS])
def test_options_exist(words: list[str]) -> None:
    command, arguments = typer.main.get_command(app), words.copy()
    while hasattr(command, "commands"):
        command = command.commands[arguments.pop(0)]
    command.make_context(command.name, arguments)  # parsed, not run


def test_every_verb_is_shown() -> None:
    verbs = {"rank", "demo", "doctor", "export", "verify", "evaluate", "bench", "serve", "batch", "cache"}
    assert verbs <= {words[0] for _, words in COMMANDS}


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_resolve(page: str) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", PAGES[page], flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            assert (DOCS / (target.partition("#")[0] or page)).is_file(), target


@pytest.mark.parametrize("page", [page for page in PAGES if page.endswith(".zh.md")])
def test_chinese_pages_have_full_width_punctuation(page: str) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`|\]\([^)\s]*\)", "", PAGES[page], flags=re.DOTALL)
    assert _HALF_WIDTH.findall(text) == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    assert set(re.findall(r": (\S+\.md)$", navigation, re.MULTILINE)) == set(PAGES)
