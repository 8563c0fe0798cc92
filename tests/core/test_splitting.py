"""Where long texts are cut."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bge_cpu.splitting import split, window_starts
from tests import checkpoints

FAMILIES = ["xlm-roberta", "roberta", "bert"]
TOKENIZERS = {family: checkpoints.tokenizer(family) for family in FAMILIES}

TEXTS = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from(list("abc 。的\n\t\u3000") * 3), max_size=200
)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [60, 100, 300])
def test_pieces_encode_as_the_whole(family: str, size: int) -> None:
    text = "  leading, " + checkpoints.text(200, seed=1) + "   runs  of\n\n white \t space\u3000" + "end "
    pieces = list(split(text, size))
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= size
    tokenizer = TOKENIZERS[family]
    ids = [token for piece in pieces for token in tokenizer.encode(piece, add_special_tokens=False).ids]
    assert ids == tokenizer.encode(text, add_special_tokens=False).ids


@given(text=TEXTS, size=st.integers(1, 30))
def test_split_loses_nothing(text: str, size: int) -> None:
    pieces = list(split(text, size))
    assert "".join(pieces) == text
    assert all(len(piece) <= size for piece in pieces)


@given(st.integers(1, 400), st.integers(1, 5000))
def test_windows_cover_overlap_and_end_with_the_text(room: int, beyond: int) -> None:
    tokens = room + beyond
    starts = window_starts(tokens, room)
    assert starts[0] == 0 and starts[-1] + room == tokens
    steps = [after - before for before, after in itertools.pairwise(starts)]
    assert all(0 < step <= room - room // 4 for step in steps)
    assert max(steps) - min(steps) <= 1
    assert len(starts) == math.ceil((tokens - room // 4) / (room - room // 4))
