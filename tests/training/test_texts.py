import doctest
import json
import random
from pathlib import Path

import pytest
from hypothesis import given, strategies

from training import bm25, texts, trim, validate
from training import train as training_command

TEXT = "第一句话。第二句话！Third sentence, 3.5 mm long. Fourth? 最后一句没有句号"


def characters(parts: list[str]) -> list[int]:
    return [len(part) for part in parts]


@pytest.mark.parametrize("module", [texts, bm25, trim, validate, training_command])
def test_examples_of_docstrings(module: object) -> None:
    results = doctest.testmod(module)
    assert results.attempted and not results.failed


@given(strategies.text(alphabet="ab。.!? \n", max_size=200), strategies.integers(1, 50))
def test_windows_are_within_the_limit_and_lose_nothing(text: str, limit: int) -> None:
    made = texts.windows(text, characters, limit)
    assert "".join("".join(made).split()) == "".join(text.split())
    assert all(0 < len(window) <= limit for window in made)


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


def test_a_faulty_record_is_named(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    good = {"query": "q", "positive": "p", "negatives": [], "lang": "en", "source": "toy"}
    file.write_text(json.dumps(good) + "\n" + json.dumps({**good, "negatives": "n"}) + "\n")
    with pytest.raises(ValueError, match=r"records\.jsonl:2: negatives is a list, not str"):
        list(texts.read(file))


def test_an_empty_query_is_named(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    file.write_text(json.dumps({"query": " ", "positive": "p", "negatives": [], "lang": "en", "source": "toy"}) + "\n")
    with pytest.raises(ValueError, match=r"records\.jsonl:1: query is empty"):
        list(texts.read(file))
