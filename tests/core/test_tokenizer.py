"""Pairs -> ids: the tokenizer's own format, the reference's truncation, exact counts, any length, any thread."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from bge_cpu import CheckpointError, InputError
from bge_cpu import tokenizer as tokenizer_module
from bge_cpu.tokenizer import PairTokenizer, read_ahead
from tests import checkpoints

FAMILIES = ["xlm-roberta", "roberta", "bert"]
TOKENIZERS = {family: checkpoints.tokenizer(family) for family in FAMILIES}

TEXTS = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from(list("abc 。的\n\t\u3000") * 3), max_size=200
)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=100, deadline=None)
@given(query=TEXTS, document=TEXTS)
def test_as_the_library_encodes_pairs(family: str, query: str, document: str) -> None:
    expected = TOKENIZERS[family].encode(query, document)
    (pair,) = PairTokenizer(TOKENIZERS[family], 4_096).encode([(query, document)])
    assert pair.ids.tolist() == expected.ids
    assert pair.type_ids.tolist() == expected.type_ids
    assert pair.truncated_tokens == 0
    assert pair.ids.dtype == pair.type_ids.dtype == np.int64


def reference_truncation(tokenizer: tokenizers.Tokenizer, query: str, document: str, max_length: int) -> list[int]:
    """As FlagEmbedding does it for XLM-R: clip the query to 3/4, then only the document."""
    query_ids = tokenizer.encode(query, add_special_tokens=False).ids[: max_length * 3 // 4]
    document_ids = tokenizer.encode(document, add_special_tokens=False).ids
    return [0, *query_ids, 2, 2, *document_ids[: max_length - 4 - len(query_ids)], 2]


@pytest.mark.parametrize("max_length", [20, 64, 512])
@pytest.mark.parametrize(("query_words", "document_words"), [(3, 2_000), (2_000, 3), (2_000, 2_000), (30, 30)])
def test_truncation_is_the_references_and_counted(max_length: int, query_words: int, document_words: int) -> None:
    tokenizer = TOKENIZERS["xlm-roberta"]
    query, document = checkpoints.text(query_words, seed=2), checkpoints.text(document_words, seed=3)
    (pair,) = PairTokenizer(tokenizer, max_length).encode([(query, document)])
    assert pair.ids.tolist() == reference_truncation(tokenizer, query, document, max_length)
    assert len(pair) <= max_length
    whole = len(tokenizer.encode(query, document).ids)
    assert pair.truncated_tokens == whole - len(pair)


@pytest.mark.parametrize("word", ["word ", "无空格的中文文本", "x"])
def test_a_megabyte_is_read_in_bounded_pieces_and_counted(word: str) -> None:
    document = word * (1_000_000 // len(word.encode()))
    tokenizer = TOKENIZERS["xlm-roberta"]
    (pair,) = PairTokenizer(tokenizer, 512).encode([("query", document)])
    assert len(pair) == 512
    start = tokenizer.encode("query", document[:20_000]).ids
    assert pair.ids[:-1].tolist() == start[:511]
    assert pair.truncated_tokens > 10_000


@pytest.mark.parametrize("space", [" ", "\n", "\u3000 "])
def test_a_very_long_run_of_white_space_costs_no_tokens(space: str) -> None:
    tokenizer = PairTokenizer(TOKENIZERS["xlm-roberta"], 32)
    runs, single = (f"panda{run}bear" for run in (space * 40_000, " "))
    one, other = tokenizer.encode([("query", runs), ("query", single)])
    assert one.ids.tolist() == other.ids.tolist()
    assert one.truncated_tokens == other.truncated_tokens == 0


def test_own_truncation_and_padding_settings_are_switched_off() -> None:
    tokenizer = checkpoints.tokenizer("xlm-roberta")
    tokenizer.enable_truncation(8, strategy="only_second")
    tokenizer.enable_padding(length=100)
    (pair,) = PairTokenizer(tokenizer, 512).encode([(checkpoints.text(40, seed=4), "b")])
    assert 40 < len(pair) < 512
    assert 1 not in pair.ids


def test_many_threads_get_what_one_gets() -> None:
    tokenizer = PairTokenizer(TOKENIZERS["roberta"], 64)
    pairs = [(checkpoints.text(5, seed=n), checkpoints.text(3 * n, seed=-n)) for n in range(60)]
    expected = [pair.ids.tolist() for pair in tokenizer.encode(pairs)]
    with ThreadPoolExecutor(8) as callers:
        results = list(callers.map(lambda _: [pair.ids.tolist() for pair in tokenizer.encode(pairs)], range(16)))
    assert all(result == expected for result in results)


@pytest.mark.parametrize(("max_length", "least"), [(0, 6), (5, 6), (-1, 6), (True, 6), (12.0, 6), ("512", 6)])
def test_max_length_without_room_is_refused(max_length: int, least: int) -> None:
    with pytest.raises(InputError, match=f"at least {least}, not {max_length!r}"):
        PairTokenizer(TOKENIZERS["xlm-roberta"], max_length)


def test_smallest_max_length_keeps_a_token_of_each() -> None:
    (pair,) = PairTokenizer(TOKENIZERS["xlm-roberta"], 6).encode([("panda panda", "bear bear")])
    assert len(pair) == 6


def test_no_file_no_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is not a readable tokenizer"):
        PairTokenizer.load(tmp_path / "tokenizer.json")


def test_a_file_read_ahead_is_read_once_and_a_changed_one_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, reads = tmp_path / "tokenizer.json", list[Path]()
    checkpoints.tokenizer("xlm-roberta").save(str(file))
    read = tokenizer_module._read

    def noted(path: Path) -> tokenizers.Tokenizer:
        reads.append(path)
        return read(path)

    monkeypatch.setattr(tokenizer_module, "_read", noted)
    read_ahead(file)
    ahead, anew = PairTokenizer.load(file), PairTokenizer.load(file)
    assert len(reads) == 2
    pair = [("what is panda?", "hi")]
    assert ahead.encode(pair)[0].ids.tolist() == anew.encode(pair)[0].ids.tolist()
    read_ahead(file)
    file.write_text("{}")
    with pytest.raises(CheckpointError):
        PairTokenizer.load(file)
