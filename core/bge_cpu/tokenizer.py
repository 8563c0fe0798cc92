"""Step 2 of a call: (query, document) -> the token ids the model reads, cut to max_length, and how many were cut.

Query and document are encoded apart, without special tokens, and joined as the tokenizer's own post-processor would.
The tokenizer's truncation stays off: it raises on long queries, turns a long document into hundreds of overflow
encodings, and is state that threads would share.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from bge_cpu.checkpoint import Checkpoint
from bge_cpu.checkpoint.files import check_file
from bge_cpu.engines import Encode, TokenizedPair
from bge_cpu.inputs import DEFAULT_MAX_LENGTH, check_count, fit_max_length
from bge_cpu.pair_format import check_alphabet, library_errors, plain_ids, read_pair_format
from bge_cpu.splitting import split, window_starts

# No piece of the vocabularies in use is longer than 16 characters, so that a text's first max_length tokens lie within
# the first 16 * max_length characters; twice that keeps them clear of the place where a spaceless text is cut.
_CHARACTERS_PER_TOKEN = 32
_CHARACTERS_AT_ONCE = 2_000_000
_PAIRS_AT_ONCE = 1024  # encoded together; bounds the memory of a million pairs

_Encoded = tuple[NDArray[np.int64], int]
"""A text's first ids, as many as there is room for, and the number of all its tokens."""


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A document, or a part of one, as the model reads it behind the query.

    Attributes:
        document: The index of the (query, document) pair that it belongs to.
        span: The part's first character in the document and the one after its last; None where the document was not
            read in windows.
        pair: The token ids of query and part.
    """

    document: int
    span: tuple[int, int] | None
    pair: TokenizedPair


_AHEAD: dict[tuple[int, ...], tokenizers.Tokenizer] = {}  # by the file's identity


def read_ahead(file: Path) -> None:
    """Read a tokenizer.json for the next `PairTokenizer.load` of it, here or in each process that is forked from this.

    Those share its memory, 0.28 GB with XLM-RoBERTa's 250,000 pieces. A file that changed meanwhile is read anew.

    Raises:
        CheckpointError: As `PairTokenizer.load`.
    """
    _AHEAD[_identity(file)] = _read(file)


def _read(file: Path) -> tokenizers.Tokenizer:
    check_file(file)
    with library_errors(f"{file} is not a readable tokenizer"):
        return tokenizers.Tokenizer.from_file(str(file))


def _identity(file: Path) -> tuple[int, ...]:
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class PairTokenizer:
    """Encodes pairs; safe to use from many threads.

    The truncation policy is that of the model's own reference (FlagEmbedding): the query keeps at most 3/4 of
    max_length, then the document is cut to what is left.

    Args:
        tokenizer: A `tokenizers.Tokenizer`; this object takes it over and switches its truncation and padding off.
        max_length: Tokens per pair at most, special tokens counted.
        threads: How many CPUs encode at once at most; None means all, whose threads all tokenizers of a process share.

    Raises:
        CheckpointError: The tokenizer has no pair format, or none that puts query before document, or takes ordinary
            letters or digits for unknown.
        InputError: max_length has no room for a token of query and document each.
    """

    def __init__(
        self, tokenizer: tokenizers.Tokenizer, max_length: int = DEFAULT_MAX_LENGTH, *, threads: int | None = None
    ) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._threads = threads
        with library_errors("the tokenizer cannot encode some text"):
            check_alphabet(tokenizer)
            self._template = read_pair_format(tokenizer)
            collapsed, spaced = (plain_ids(tokenizer, f"a{run}b") for run in (" ", " " * 8))
        self._drops_space = collapsed == spaced
        self._largest_special = int(np.concatenate(self._template.ids).max())
        self.max_length = check_count(max_length, "max_length", least=self._template.special_tokens + 2)
        room = max_length - self._template.special_tokens
        self._query_limit = min(max_length * 3 // 4, room - 1)
        self._document_limit = room

    @classmethod
    def load(cls, file: Path, max_length: int = DEFAULT_MAX_LENGTH, *, threads: int | None = None) -> "PairTokenizer":
        """Read a tokenizer.json.

        Raises:
            CheckpointError: The file is not a tokenizer that the `tokenizers` library reads.
        """
        tokenizer = _AHEAD.pop(_identity(file), None) or _read(file)
        return cls(tokenizer, max_length, threads=threads)

    @property
    def vocabulary(self) -> int:
        """How many rows of embeddings the tokenizer's ids need: one more than the largest."""
        rows = self._tokenizer.get_vocab_size(with_added_tokens=False)
        if not isinstance(self._tokenizer.model, tokenizers.models.Unigram):  # whose ids are places in a list
            rows = 1 + max(self._tokenizer.get_vocab(with_added_tokens=False).values(), default=-1)
        return max(rows, 1 + max(self._tokenizer.get_added_tokens_decoder(), default=-1), 1 + self._largest_special)

    @property
    def token_types(self) -> int:
        """How many token types the pair format uses."""
        special = np.concatenate(self._template.special_types)
        return 1 + max(*self._template.text_types, int(special.max(initial=0)))

    def encode(self, pairs: Sequence[tuple[str, str]]) -> list[TokenizedPair]:
        """Encode pairs of checked texts, in order. A query that recurs is encoded once."""
        queries = self._encode_queries(pairs)
        documents = self._encode([document for _, document in pairs], self._document_limit)
        return [self._join(queries[query], document) for (query, _), document in zip(pairs, documents, strict=True)]

    def _encode_queries(self, pairs: Sequence[tuple[str, str]]) -> dict[str, _Encoded]:
        queries = list(dict.fromkeys(query for query, _ in pairs))
        return dict(zip(queries, self._encode(queries, self._query_limit), strict=True))

    def windows(self, pairs: Sequence[tuple[str, str]], *, whole: bool) -> Iterator[Window]:
        """Encode pairs of checked texts, in order, some at a time, as they are asked for.

        Args:
            pairs: (query, document) pairs, as many as you like.
            whole: Whether a document that is too long is read whole, in several overlapping windows, each behind the
                query; if not, it is cut, and every pair is one window.
        """
        for start in range(0, len(pairs), _PAIRS_AT_ONCE):
            some = pairs[start : start + _PAIRS_AT_ONCE]
            for index, encoded in enumerate(self._whole(some) if whole else self._cut(some), start):
                for span, pair in encoded:
                    yield Window(index, span, pair)

    def _cut(self, pairs: Sequence[tuple[str, str]]) -> Iterator[list[tuple[None, TokenizedPair]]]:
        return ([(None, pair)] for pair in self.encode(pairs))

    def _whole(self, pairs: Sequence[tuple[str, str]]) -> Iterator[Iterator[tuple[tuple[int, int], TokenizedPair]]]:
        """For each pair its windows, from the document's start to its end, spread evenly so that all are about as full.

        Neighbours overlap by at least a quarter.
        """
        queries = self._encode_queries(pairs)
        documents = self._encode([document for _, document in pairs], self._document_limit)
        for (query, text), (ids, tokens) in zip(pairs, documents, strict=True):
            yield self._windows_of(queries[query], text, ids, tokens)

    def _windows_of(
        self, query: _Encoded, text: str, ids: NDArray[np.int64], tokens: int
    ) -> Iterator[tuple[tuple[int, int], TokenizedPair]]:
        """The windows of one document, whose first ids and number of tokens are known."""
        query_ids, query_tokens = query
        truncated, room = query_tokens - len(query_ids), self._document_limit - len(query_ids)
        if tokens <= room:
            yield (0, len(text)), self._pair(query_ids, ids, truncated)
            return
        ids, starts, ends = self._encode_with_offsets(text)
        for start in window_starts(len(ids), room):
            end = start + room
            span = int(starts[start]) if start else 0, int(ends[end - 1]) if end < len(ids) else len(text)
            yield span, self._pair(query_ids, ids[start:end], truncated)

    def _join(self, query: _Encoded, document: _Encoded) -> TokenizedPair:
        (query_ids, query_tokens), (document_ids, document_tokens) = query, document
        document_ids = document_ids[: self._document_limit - len(query_ids)]
        truncated = query_tokens - len(query_ids) + document_tokens - len(document_ids)
        return self._pair(query_ids, document_ids, truncated)

    def _pair(self, query_ids: NDArray[np.int64], document_ids: NDArray[np.int64], truncated: int) -> TokenizedPair:
        before, between, after = self._template.ids
        ids = np.concatenate([before, query_ids, between, document_ids, after])
        before, between, after = self._template.special_types
        query_type, document_type = self._template.text_types
        types = [before, np.full(len(query_ids), query_type), between, np.full(len(document_ids), document_type), after]
        return TokenizedPair(ids, np.concatenate(types), truncated)

    def _encode(self, texts: Sequence[str], limit: int) -> list[_Encoded]:
        """For each text its first `limit` ids and the number of all its tokens."""
        kept: list[list[int]] = [[] for _ in texts]
        tokens = [0] * len(texts)
        for pieces in self._batches(texts):
            with library_errors("the tokenizer cannot encode some text"):
                encodings = self._on_few(self._tokenizer.encode_batch_fast, [piece for _, _, piece in pieces])
            for (index, _, _), encoding in zip(pieces, encodings, strict=True):
                tokens[index] += len(encoding)
                if len(kept[index]) < limit:
                    kept[index] += encoding.ids
        return [(np.array(ids[:limit], dtype=np.int64), total) for ids, total in zip(kept, tokens, strict=True)]

    def _encode_with_offsets(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """A text's ids, and for each the characters it stands for: the first, and the one after the last."""
        ids, starts, ends = [], [], []
        for pieces in self._batches([text]):
            with library_errors("the tokenizer cannot encode some text"):
                encodings = self._on_few(self._tokenizer.encode_batch, [piece for _, _, piece in pieces])
            for (_, first, _), encoding in zip(pieces, encodings, strict=True):
                ids.append(np.array(encoding.ids, dtype=np.int64))
                offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2) + first
                starts.append(offsets[:, 0])
                ends.append(offsets[:, 1])
        return np.concatenate(ids), np.concatenate(starts), np.concatenate(ends)

    def _on_few(self, encode_batch: Callable[..., list[Any]], texts: Sequence[str]) -> list[Any]:
        """Encode texts on no more CPUs than we may: the library gives each text of a call a thread of its own."""
        if self._threads == 1:
            return [self._tokenizer.encode(text, add_special_tokens=False) for text in texts]
        at_once = self._threads or len(texts)
        some = (texts[start : start + at_once] for start in range(0, len(texts), at_once))
        return [encoding for part in some for encoding in encode_batch(part, add_special_tokens=False)]

    def _batches(self, texts: Sequence[str]) -> Iterator[list[tuple[int, int, str]]]:
        """The pieces of all texts, each with its text's index and its first character, some characters at a time."""
        batch: list[tuple[int, int, str]] = []
        characters = 0
        for index, text in enumerate(texts):
            first = 0
            for piece in split(text, _CHARACTERS_PER_TOKEN * self.max_length):
                first += len(piece)
                if first < len(text) and self._drops_space and piece.isspace():
                    continue  # part of a long run of white space, which the tokenizer makes one with what follows
                if batch and characters + len(piece) > _CHARACTERS_AT_ONCE:
                    yield batch
                    batch, characters = [], 0
                batch.append((index, first - len(piece), piece))
                characters += len(piece)
        if batch:
            yield batch


def probe_encoder(checkpoint: Checkpoint, *, threads: int | None) -> Encode:
    """What encodes the gate's probe for a model, whatever max_length a user asks for; it is made when it is called."""
    longest = fit_max_length(None, checkpoint.max_length, checkpoint.name)
    return lambda pairs: PairTokenizer.load(checkpoint.tokenizer, longest, threads=threads).encode(pairs)
