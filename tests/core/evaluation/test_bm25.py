"""BM25: its terms, its order, and that it agrees with the formula."""

import math

import pytest

from bge_cpu import InputError
from bge_cpu.evaluation.bm25 import K1, B, Bm25, terms

TEXTS = ["the quick fox", "a slow fox and a fox", "三峡大坝在湖北", "nothing here"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Snake_case, café!", ["snake", "case", "café"]),
        ("读GPT-4的长文", ["读", "gpt", "4", "的长", "长文"]),
        ("第3章", ["第", "3", "章"]),
        ("😀 !!", []),
    ],
)
def test_terms(text: str, expected: list[str]) -> None:
    assert list(terms(text)) == expected


def test_scores_are_the_formulas() -> None:
    lengths = [len(list(terms(text))) for text in TEXTS]
    idf = math.log(1 + (4 - 2 + 0.5) / (2 + 0.5))
    expected = []
    for index, count in ((0, 1), (1, 2)):
        length = 1 - B + B * lengths[index] / (sum(lengths) / 4)
        expected.append((index, idf * count / (count + K1 * length)))
    found = Bm25(TEXTS).search("fox", 10)
    assert [index for index, _ in found] == [index for index, _ in sorted(expected, key=lambda item: -item[1])]
    assert dict(found) == pytest.approx(dict(expected), rel=1e-5)


def test_finds_only_what_shares_a_term() -> None:
    index = Bm25(TEXTS)
    assert [place for place, _ in index.search("大坝 fox", 10)] == [2, 1, 0]
    assert len(index.search("fox", 1)) == 1
    assert index.search("unknown", 10) == index.search("", 10) == []


def test_nothing_to_search() -> None:
    for texts in ([], ["", "!?"]):
        with pytest.raises(InputError, match="no text has a word"):
            Bm25(texts)
