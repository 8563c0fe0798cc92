"""Long documents read whole: windows that cover and overlap, the best one's score, and the characters behind it."""

import itertools
from pathlib import Path

import pytest

from bge_cpu import InputError, Reranker
from bge_cpu.tokenizer import PairTokenizer, Window
from tests.checkpoints import text

QUERY = "a river"


def behind(query: str, documents: list[str]) -> list[tuple[str, str]]:
    return [(query, document) for document in documents]


def spans(windows: list[Window]) -> list[tuple[int, int]]:
    """The characters of each window; all have some."""
    found = [window.span for window in windows if window.span is not None]
    assert len(found) == len(windows)
    return found


@pytest.fixture(scope="module")
def tokenizer(tiny_xlmr: Path) -> PairTokenizer:
    return PairTokenizer.load(tiny_xlmr / "tokenizer.json", max_length=128)


def test_a_document_that_fits_is_the_pair_itself(tokenizer: PairTokenizer) -> None:
    documents = [text(20, 1), "", text(5, 2)]
    windows = list(tokenizer.windows(behind(QUERY, documents), whole=True))
    assert [window.document for window in windows] == [0, 1, 2]
    assert [window.span for window in windows] == [(0, len(document)) for document in documents]
    for window, pair in zip(windows, tokenizer.encode(behind(QUERY, documents)), strict=True):
        assert window.pair.ids.tolist() == pair.ids.tolist()


def test_windows_of_a_long_document(tokenizer: PairTokenizer) -> None:
    document = f"  {text(3000, 1)}   \n\n {text(4000, 2)} "
    windows = list(tokenizer.windows([(QUERY, document)], whole=True))
    (cut,) = tokenizer.encode([(QUERY, document)])
    assert windows[0].pair.ids.tolist() == cut.ids.tolist()
    assert (spans(windows)[0][0], spans(windows)[-1][1]) == (0, len(document))
    for before, after in itertools.pairwise(spans(windows)):
        assert before[0] < after[0] < before[1] < after[1]
    plain = tokenizer.encode([(QUERY, document[slice(*span)]) for span in spans(windows)])
    for one, window in zip(plain, windows, strict=True):  # where a window ends within a word, tokens differ at its ends
        inner = " ".join(map(str, window.pair.ids[20:-20]))
        assert inner in " ".join(map(str, one.ids)) and len(one) <= len(window.pair) + 2
    assert all(len(window.pair) == 128 and window.pair.truncated_tokens == 0 for window in windows)


def test_spans_in_other_scripts_and_without_spaces(tokenizer: PairTokenizer) -> None:
    for document in (text(3000, 5).replace(" ", ""), "naïve café 河流 😀 " * 300, "a\tb\n" * 900, "x" * 100_000):
        windows = list(tokenizer.windows([(QUERY, document)], whole=True))
        assert len(windows) > 1
        assert (spans(windows)[0][0], spans(windows)[-1][1]) == (0, len(document))
        assert all(before[1] >= after[0] for before, after in itertools.pairwise(spans(windows)))


def test_a_long_query_leaves_little_room_and_is_counted(tokenizer: PairTokenizer) -> None:
    windows = list(tokenizer.windows([(text(100, 3), text(100, 4))], whole=True))
    assert len(windows) > 5
    assert len({window.pair.truncated_tokens for window in windows}) == 1
    assert windows[0].pair.truncated_tokens > 0


def test_rank_takes_the_best_window(tiny_xlmr: Path) -> None:
    reranker = Reranker.load(tiny_xlmr, mode="onnx", max_length=128)
    documents = [text(400, 1), text(10, 2), text(900, 3), ""]
    with pytest.warns(UserWarning, match="cut to max_length"):
        cut = {item.index: item for item in reranker.rank(QUERY, documents)}
    whole = {item.index: item for item in reranker.rank(QUERY, documents, long_documents="windows", normalize=None)}
    every = list(reranker.tokenizer.windows(behind(QUERY, documents), whole=True))
    for index, item in whole.items():
        assert item.truncated_tokens == 0
        windows = [window for window in every if window.document == index]
        logits = reranker.engine.logits([window.pair for window in windows]).tolist()
        assert item.score == max(logits)
        assert item.span == windows[logits.index(max(logits))].span
    assert all(item.span is None for item in cut.values())
    assert [item.truncated_tokens > 0 for _, item in sorted(cut.items())] == [True, False, True, False]


def test_wrong_option_is_refused(tiny_reranker: Reranker) -> None:
    with pytest.raises(InputError, match="long_documents is 'truncate' or 'windows', not 'skip'"):
        tiny_reranker.rank(QUERY, ["a"], long_documents="skip")
    assert len(tiny_reranker.rank(QUERY, [], long_documents="windows")) == 0


@pytest.mark.model
@pytest.mark.parametrize(
    ("query", "answer", "filler"),
    [
        (
            "如何治疗糖尿病足?",
            "糖尿病足患者应注意足部清洁,避免感染,定期检查皮肤破损。",
            "今天的会议讨论了仓库的消防安排。",
        ),
        (
            "How is a diabetic foot treated?",
            "Patients with a diabetic foot should keep their feet clean, avoid infection and check for wounds.",
            "The committee agreed on new opening hours for the warehouse. ",
        ),
    ],
)
def test_answer_in_the_middle_of_twenty_thousand_tokens(mini: Path, query: str, answer: str, filler: str) -> None:
    reranker = Reranker.load(mini, mode="onnx")
    tokens = len(reranker.tokenizer._encode([filler], 100)[0][0])
    half = filler * (10_000 // tokens)
    document = f"{half}{answer} {half}"
    others = [filler * 100, "The foot spa offers full-body massage.", "苹果是一种水果。"]
    best = reranker.rank(query, [*others, document], long_documents="windows")[0]
    assert best.index == 3
    assert best.span is not None
    start, end = best.span
    assert start <= len(half) and end >= len(half) + len(answer)
    assert end - start < len(document) / 20
