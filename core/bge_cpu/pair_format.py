"""Part of step 2: what a tokenizer.json is like: how it joins a pair, and whether it knows letters at all."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tokenizers
from numpy.typing import NDArray

from bge_cpu.errors import CheckpointError

# Characters in hardly any vocabulary: a hieroglyph, one of private use, a letter known from a single psalter. Their ids
# show what a tokenizer makes of the unknown.
_RARE = ("\U00013000", "\ue000", "\ua66e")
_ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz",
    "а б в г д е и о н т",
    "α β γ δ ε ι ο ν σ τ",
    "的 一 是 不 了 人 我 在 有 他",
    "い の に を は た が で て と",
    "다 이 는 을 가 에 의 고 한 은",
    "ا ل م ن و ي ر ت ب",
    "א ב ה ו י ל מ נ ר ת",
    "अ क र न त स म य ह ल",
    "ก น ร า อ เ ง ม ย ล",
)


@dataclass(frozen=True, slots=True)
class PairFormat:
    """A pair format, ids[0] query ids[1] document ids[2]: for XLM-RoBERTa `<s> query </s></s> document </s>`.

    Attributes:
        ids: The special tokens before, between and after query and document.
        special_types: Their token types.
        text_types: The token type of the query's tokens, and of the document's.
    """

    ids: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
    special_types: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
    text_types: tuple[int, int]

    @property
    def special_tokens(self) -> int:
        """How many of a pair's tokens belong to neither text."""
        return sum(map(len, self.ids))


@contextlib.contextmanager
def library_errors(what: str) -> Iterator[None]:
    """Turn whatever the library raises into our error: it knows bare Exceptions, and panics of Rust below none."""
    try:
        yield
    except (CheckpointError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise CheckpointError(
            f"{what}: {reason}", hint="the tokenizer is damaged or of a newer kind: take the model's own tokenizer.json"
        ) from error


def check_alphabet(tokenizer: tokenizers.Tokenizer) -> None:
    """Refuse a tokenizer that takes ordinary letters or digits for unknown, as one that was written empty does."""
    rare = {token for text in _RARE for token in plain_ids(tokenizer, text)}

    def unknown(text: str) -> bool:
        return rare.issuperset(plain_ids(tokenizer, text))

    latin = _ALPHABETS[0]
    lost = {
        "letters": all(map(unknown, _ALPHABETS)),
        "digits": unknown("0 1 2 3 4 5 6 7 8 9"),
        "capital letters": unknown(latin.upper()) and not unknown(latin),
    }
    if any(lost.values()):
        what = next(name for name in lost if lost[name])
        raise CheckpointError(
            f"the tokenizer takes all {what} for unknown, so that texts that differ would be read as the same",
            hint="it was written empty, or is not the model's: take tokenizer.json from the model's repository",
        )


def plain_ids(tokenizer: tokenizers.Tokenizer, text: str) -> list[int]:
    """A text's ids without special tokens."""
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def read_pair_format(tokenizer: tokenizers.Tokenizer) -> PairFormat:
    """Read the pair format off the post-processor, by joining two short texts.

    Raises:
        CheckpointError: There is none, or none that puts query before document with something between them.
    """
    query, document = (tokenizer.encode(text, add_special_tokens=False) for text in ("a", "b"))
    if not query.ids or not document.ids:
        raise CheckpointError("the tokenizer gives no token for a letter")
    joined = tokenizer.post_process(query, document)
    texts = [place for place, special in enumerate(joined.special_tokens_mask) if not special]
    if [joined.ids[place] for place in texts] != query.ids + document.ids:
        raise CheckpointError(f"the tokenizer's pair format is not query before document: {joined.tokens}")
    starts = texts[0], texts[len(query)]
    if starts[1] == starts[0] + len(query):
        raise CheckpointError(
            "the tokenizer has no pair format: query and document would be read as one text, with nothing between them",
            hint="decoder models are prompted in ways of their own, which bge-cpu does not know; take a cross-encoder",
        )
    ends = starts[0] + len(query), starts[1] + len(document)
    ids, types = np.array(joined.ids, np.int64), np.array(joined.type_ids, np.int64)
    slices = slice(starts[0]), slice(ends[0], starts[1]), slice(ends[1], None)
    return PairFormat(
        ids=(ids[slices[0]], ids[slices[1]], ids[slices[2]]),
        special_types=(types[slices[0]], types[slices[1]], types[slices[2]]),
        text_types=(int(types[starts[0]]), int(types[starts[1]])),
    )
