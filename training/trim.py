"""Cut an encoder's vocabulary to the pieces that some texts need: tokenizer.json and the embedding table.

    python -m training.trim BASE OUT --corpus LISTS/passages.jsonl ... --heldout ../shared/data/eval/... --pieces 46400

Kept are, in this order, until `pieces` are reached: the special tokens; every single character of the kept scripts and
every sign that is no letter; the pieces that the corpus needs, most often needed first; the most frequent of the rest.
A text whose pieces are all kept is cut as before. Prints what held-out texts pay: the share of tokens that become
unknown, and how much longer the texts get.
"""

import argparse
import gzip
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

SCRIPTS = ("LATIN", "GREEK", "CJK")  # as the names of Unicode characters begin

_TABLE = "embeddings.word_embeddings.weight"
_TEXTS_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Cost:
    """What texts pay for a smaller vocabulary.

    Attributes:
        tokens: How many tokens they had.
        unknown: The share of their tokens that are unknown now, and were not before.
        inflation: How many times as many tokens they have now.
    """

    tokens: int
    unknown: float
    inflation: float


def is_of(piece: str, scripts: Sequence[str] = SCRIPTS) -> bool:
    """Whether every letter of a piece belongs to one of the scripts.

    >>> is_of("▁the"), is_of("2,5%"), is_of("的"), is_of("мир")
    (True, True, True, False)
    """
    return all(unicodedata.name(char, "").startswith(tuple(scripts)) for char in piece if char.isalpha())


def choose(vocabulary: Sequence[str], needed: Mapping[int, int], special: Iterable[int], pieces: int) -> list[int]:
    """The ids to keep, in ascending order.

    Args:
        vocabulary: All pieces, most frequent first, as a Unigram model has them.
        needed: Piece id -> how often the corpus needs it.
        special: Ids of the special tokens.
        pieces: How many to keep.

    Raises:
        ValueError: The special tokens and single characters are more than `pieces`.
    """
    allowed = [index for index, piece in enumerate(vocabulary) if is_of(piece)]
    kept = {*special, *(index for index in allowed if len(vocabulary[index].lstrip("▁")) <= 1)}
    if len(kept) > pieces:
        raise ValueError(f"{len(kept):,} special tokens and single characters have to be kept, not {pieces:,} pieces")
    by_need = sorted(set(allowed) - kept, key=lambda index: (-needed.get(index, 0), index))
    return sorted(kept.union(by_need[: pieces - len(kept)]))


def trimmed(definition: dict[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """A tokenizer.json with only the kept pieces, renumbered in their order.

    Args:
        definition: The content of a tokenizer.json with a Unigram model.
        kept: Ids, ascending; the special tokens' are among them.
    """
    number = {old: new for new, old in enumerate(kept)}
    vocabulary = definition["model"]["vocab"]
    model = {
        **definition["model"],
        "vocab": [vocabulary[old] for old in kept],
        "unk_id": number[definition["model"]["unk_id"]],
    }
    added = [{**token, "id": number[token["id"]]} for token in definition["added_tokens"]]
    tokens = {
        name: {**token, "ids": [number[old] for old in token["ids"]]}
        for name, token in definition["post_processor"]["special_tokens"].items()
    }
    post_processor = {**definition["post_processor"], "special_tokens": tokens}
    return {**definition, "model": model, "added_tokens": added, "post_processor": post_processor}


def cost(before: Tokenizer, after: Tokenizer, texts: Iterable[str]) -> Cost:
    """What the texts pay for the second tokenizer."""
    counts: Counter[str] = Counter()
    for name, tokenizer in (("before", before), ("after", after)):
        unknown = tokenizer.token_to_id("<unk>")
        for ids in encoded(tokenizer, texts):
            counts[name] += len(ids)
            counts[f"unknown {name}"] += sum(index == unknown for index in ids)
    unknown_share = (counts["unknown after"] - counts["unknown before"]) / max(1, counts["after"])
    return Cost(counts["before"], unknown_share, counts["after"] / max(1, counts["before"]))


def encoded(tokenizer: Tokenizer, texts: Iterable[str]) -> Iterator[list[int]]:
    """The ids of each text, without special tokens."""
    waiting = list(texts)
    for start in range(0, len(waiting), _TEXTS_AT_ONCE):
        for encoding in tokenizer.encode_batch(waiting[start : start + _TEXTS_AT_ONCE], add_special_tokens=False):
            yield encoding.ids


def read(file: Path) -> Iterator[str]:
    """The texts of a JSONL file (.gz or plain): every string in the fields text, query, positive and negatives."""
    with (gzip.open if file.suffix == ".gz" else open)(file, "rb") as stream:
        for record in map(json.loads, filter(bytes.strip, stream)):
            yield from (record[field] for field in ("text", "query", "positive") if isinstance(record.get(field), str))
            yield from record.get("negatives", [])


def trim(base: Path, out: Path, corpus: Iterable[str], pieces: int) -> tuple[Tokenizer, Tokenizer]:
    """Write a checkpoint folder with the smaller vocabulary; the tokenizers before and after.

    Args:
        base: An encoder's checkpoint folder: model.safetensors, config.json, tokenizer_config.json
            and a tokenizer.json with a Unigram model.
        out: The new folder.
        corpus: The texts whose pieces stay as far as they fit.
        pieces: The size of the new vocabulary.

    Raises:
        ValueError: The tokenizer is not a Unigram model, or `pieces` is too few.
    """
    definition = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    if definition["model"]["type"] != "Unigram":
        raise ValueError(f"{base} has a {definition['model']['type']} tokenizer, only Unigram ones can be trimmed")
    before = Tokenizer.from_file(str(base / "tokenizer.json"))
    needed = Counter(index for ids in encoded(before, corpus) for index in ids)
    vocabulary = [piece for piece, _ in definition["model"]["vocab"]]
    kept = choose(vocabulary, needed, [token["id"] for token in definition["added_tokens"]], pieces)
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(trimmed(definition, kept), ensure_ascii=False, separators=(",", ":"))
    (out / "tokenizer.json").write_text(text, encoding="utf-8")
    tensors = load_file(base / "model.safetensors")
    tensors[_TABLE] = tensors[_TABLE][kept].contiguous()
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    after = Tokenizer.from_file(str(out / "tokenizer.json"))
    config = json.loads((base / "config.json").read_text())
    config |= {"vocab_size": len(kept), "pad_token_id": after.token_to_id("<pad>")}
    settings = json.loads((base / "tokenizer_config.json").read_text())
    # The class that every release of transformers gives these files, whatever the base was written with.
    settings["tokenizer_class"] = config["tokenizer_class"] = "PreTrainedTokenizerFast"
    settings.pop("backend", None)
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")
    return before, after


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("base", type=Path, help="encoder checkpoint folder")
    parser.add_argument("out", type=Path, help="folder for the smaller one")
    parser.add_argument(
        "--corpus", type=Path, nargs="+", required=True, help="JSONL files that say which pieces are needed"
    )
    parser.add_argument("--heldout", type=Path, nargs="*", default=[], help="JSONL files to measure the cost on")
    parser.add_argument("--pieces", type=int, default=46_400, help="size of the new vocabulary")
    options = parser.parse_args()
    corpus = (text for file in options.corpus for text in read(file))
    before, after = trim(options.base, options.out, corpus, options.pieces)
    console = Console()
    console.print(f"{after.get_vocab_size():,} of {before.get_vocab_size():,} pieces kept")
    for file in options.heldout:
        paid = cost(before, after, list(read(file)))
        console.print(f"{file}: {paid.tokens:,} tokens, {paid.unknown:.3%} unknown, length x {paid.inflation:.4f}")


if __name__ == "__main__":
    main()
