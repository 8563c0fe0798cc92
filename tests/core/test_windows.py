"""Long documents read whole: windows that cover and overlap, the best one's score, and the characters behind it."""

import itertools
import json
import math
from pathlib import Path

import pytest
from checkpoints import text
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bge_cpu import InputError, Reranker
from bge_cpu.cli import app
from bge_cpu.splitting import window_starts
from bge_cpu.tokenizer import PairTokenizer

QUERY = "a river"


@given(st.integers(1, 400), st.integers(1, 5000))
def test_windows_cover_overlap_and_end_with_the_text(room: int, beyond: int) -> None:
    tokens = room + beyond
    starts = window_starts(tokens, room)
    assert starts[0] == 0 and starts[-1] + room == tokens
    steps = [after - before for before, after in itertools.pairwise(starts)]
    assert all(0 < step <= room - room // 4 for step in steps)
    assert max(steps) - min(steps) <= 1
    assert len(starts) == math.ceil((tokens - room // 4) / (room - room // 4))


@pytest.fixture(scope="module")
def tokenizer(tiny_xlmr: Path) -> PairTokenizer:
    return PairTokenizer.load(tiny_xlmr / "tokenizer.json", max_length=128)


def test_a_document_that_fits_is_the_pair_itself(tokenizer: PairTokenizer) -> None:
    documents = [text(20, 1), "", text(5, 2)]
    windows = list(tokenizer.windows(QUERY, documents))
    assert [window.document for window in windows] == [0, 1, 2]
    assert [window.span for window in windows] == [(0, len(document)) for document in documents]
    for window, pair in zip(windows, tokenizer.encode([(QUERY, document) for document in documents]), strict=True):
        assert window.pair.ids.tolist() == pair.ids.tolist()


def test_windows_of_a_long_document(tokenizer: PairTokenizer) -> None:
    document = f"  {text(3000, 1)}   \n\n {text(4000, 2)} "
    windows = list(tokenizer.windows(QUERY, [document]))
    (cut,) = tokenizer.encode([(QUERY, document)])
    assert windows[0].pair.ids.tolist() == cut.ids.tolist()
    assert (windows[0].span[0], windows[-1].span[1]) == (0, len(document))
    for before, after in itertools.pairwise(windows):
        assert before.span[0] < after.span[0] < before.span[1] < after.span[1]
    plain = tokenizer.encode([(QUERY, document[slice(*window.span)]) for window in windows])
    for one, window in zip(plain, windows, strict=True):  # where a window ends within a word, tokens differ at its ends
        inner = " ".join(map(str, window.pair.ids[20:-20]))
        assert inner in " ".join(map(str, one.ids)) and len(one) <= len(window.pair) + 2
    assert all(len(window.pair) == 128 and window.pair.truncated_tokens == 0 for window in windows)


def test_spans_in_other_scripts_and_without_spaces(tokenizer: PairTokenizer) -> None:
    for document in (text(3000, 5).replace(" ", ""), "naïve café 河流 😀 " * 300, "a\tb\n" * 900, "x" * 100_000):
        windows = list(tokenizer.windows(QUERY, [document]))
        assert len(windows) > 1
        assert (windows[0].span[0], windows[-1].span[1]) == (0, len(document))
        assert all(before.span[1] >= after.span[0] for before, after in itertools.pairwise(windows))


def test_a_long_query_leaves_little_room_and_is_counted(tokenizer: PairTokenizer) -> None:
    windows = list(tokenizer.windows(text(100, 3), [text(100, 4)]))
    assert len(windows) > 5
    assert len({window.pair.truncated_tokens for window in windows}) == 1
    assert windows[0].pair.truncated_tokens > 0


def test_rank_takes_the_best_window(tiny_xlmr: Path) -> None:
    reranker = Reranker.load(tiny_xlmr, mode="onnx", max_length=128)
    documents = [text(400, 1), text(10, 2), text(900, 3), ""]
    with pytest.warns(UserWarning, match="cut to max_length"):
        cut = {item.index: item for item in reranker.rank(QUERY, documents)}
    whole = {item.index: item for item in reranker.rank(QUERY, documents, long_documents="windows", normalize=None)}
    for index, item in whole.items():
        assert item.truncated_tokens == 0
        windows = [window for window in reranker.tokenizer.windows(QUERY, documents) if window.document == index]
        logits = reranker.engine.logits([window.pair for window in windows]).tolist()
        assert item.score == max(logits)
        assert item.span == windows[logits.index(max(logits))].span
    assert all(item.span is None for item in cut.values())
    assert [item.truncated_tokens > 0 for _, item in sorted(cut.items())] == [True, False, True, False]


def test_wrong_option_is_refused(tiny_reranker: Reranker) -> None:
    with pytest.raises(InputError, match="long_documents is 'truncate' or 'windows', not 'skip'"):
        tiny_reranker.rank(QUERY, ["a"], long_documents="skip")
    assert len(tiny_reranker.rank(QUERY, [], long_documents="windows")) == 0


def test_command_line_prints_spans(tiny_xlmr: Path, tmp_path: Path) -> None:
    (tmp_path / "documents.txt").write_text(f"{text(300, 1)}\n{text(10, 2)}\n", encoding="utf-8")
    arguments = ["rank", QUERY, "--file", str(tmp_path / "documents.txt"), "--model", str(tiny_xlmr)]
    arguments += ["--mode", "onnx", "--max-length", "128", "--long-documents", "windows"]
    done = CliRunner().invoke(app, [*arguments, "--json"])
    spans = {result["index"]: result["span"] for result in json.loads(done.stdout)["results"]}
    assert spans[1] == [0, len(text(10, 2))]
    assert 0 < spans[0][1] - spans[0][0] < len(text(300, 1))
    assert "…" in CliRunner().invoke(app, arguments).stdout


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
