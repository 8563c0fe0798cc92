"""Records, sentences, windows and the other shapes of a question."""

import doctest
import json
import random
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, strategies

pytest.importorskip("torch", reason="training needs PyTorch")

from training import bm25, texts, trim
from training import train as training_command

GOOD = {"query": "q", "positive": "p", "negatives": ["n"], "lang": "en", "source": "toy"}
TEXT = "第一句话。第二句话！Third sentence, 3.5 mm long. Fourth? 最后一句没有句号"


def characters(parts: Sequence[str]) -> list[int]:
    return [len(part) for part in parts]


@pytest.mark.parametrize("module", [texts, bm25, trim, training_command])
def test_examples_of_docstrings(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted and not results.failed


@given(strategies.text(alphabet="ab。.!? \n", max_size=200), strategies.integers(1, 50))
def test_windows_are_within_the_limit_and_lose_nothing(text: str, limit: int) -> None:
    made = texts.windows(text, characters, limit)
    assert "".join("".join(made).split()) == "".join(text.split())
    assert all(0 < len(window) <= limit for window in made)


@given(strategies.text(alphabet="-x。 \n", max_size=200), strategies.integers(1, 50))
def test_windows_are_within_the_limit_where_tokens_lie_unevenly(text: str, limit: int) -> None:
    def counted(parts: Sequence[str]) -> list[int]:
        return [part.count("x") for part in parts]

    made = texts.windows(text, counted, limit)
    assert "".join("".join(made).split()) == "".join(text.split())
    assert all(window and window.count("x") <= limit for window in made)
    assert texts.windows("-" * 50 + "x" * 50, counted, 25) == ["-" * 50, "x" * 25, "x" * 25]


def test_a_character_longer_than_the_limit_is_left_whole() -> None:
    assert texts.windows("﷽a", lambda parts: [18 * part.count("﷽") + part.count("a") for part in parts], 10) == [
        "﷽",
        "a",
    ]


def test_windows_are_about_equal_and_end_with_sentences() -> None:
    assert texts.windows(TEXT, characters, 30) == [
        "第一句话。第二句话！",
        "Third sentence, 3.5 mm long.",
        "Fourth? 最后一句没有句号",
    ]
    assert texts.windows(TEXT, characters, 1_000) == [TEXT]


def test_an_excerpt_is_of_the_text() -> None:
    rng = random.Random(0)
    for _ in range(100):
        made = texts.excerpt(TEXT, "zh", rng)
        assert made and made in TEXT


def test_keywords_leave_short_queries_alone() -> None:
    assert texts.keywords("who is it?", "en") == "who is it?"
    assert texts.keywords("是谁？", "zh") == "是谁？"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (json.dumps({**GOOD, "negatives": "n"}), "negatives is a list, not str"),
        (json.dumps({**GOOD, "negatives": ["n", None]}), "negatives is a list of str, not of NoneType"),
        (json.dumps({**GOOD, "query": " "}), "query is empty"),
        (json.dumps({"query": "q"}), "positive is a str, not NoneType"),
        ("[1]", "a record is an object with query, positive, negatives, lang, source, not list"),
        ("{'query'", "no JSON: Expecting property name"),
        ("\udcff", "no JSON: 'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_a_faulty_record_is_named(line: str, fault: str, tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    file.write_text(f"{json.dumps(GOOD)}\n\n{line}\n", encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ValueError, match=rf"records\.jsonl:3: {fault}"):
        list(texts.read(file))


def test_blank_lines_and_other_fields_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    file.write_text("\n" + json.dumps({**GOOD, "id": 7}) + "\n \n" + json.dumps(GOOD))
    assert list(texts.read(file)) == [texts.Record("q", "p", ("n",), "en", "toy")] * 2
