"""Records -> lists of candidates with the teacher's scores: what `train.py` reads.

    python -m training.prepare ../shared/data/train/*.jsonl.gz --base BASE --out LISTS

Long passages are cut into windows of several lengths. Each question gets the window of its positive passage that the
teacher likes best, and up to 15 negatives: mined with BM25 and with the base model as a bi-encoder, given by the data
set, and random. Some questions are put as keywords. Some queries are excerpts of passages: they have the teacher's
scores but no positive. Queries that are too long to embed are left out.

The teacher's score is the bi-encoder's cosine plus a little of the BM25 score, which ranks better than either alone.

OUT/passages.jsonl has the windows, one {text, lang} a line. OUT/lists.jsonl and OUT/heldout.jsonl have one list a line,
{query, lang, source, positive, candidates, scores}: candidates are lines of passages.jsonl, counted from 0, and scores
the teacher's; `positive` says whether the first candidate is known to be the right one and all others count as wrong.
The same input and seed give the same files. Embeddings are kept in OUT/embeddings, so that a rerun resumes.
"""

import argparse
import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from tokenizers import Tokenizer

from training import texts
from training.biencoder import LIMIT, embed
from training.mine import Collection, Miner, Query

LIMITS = (40, 80, 160, 240)  # tokens; each passage draws one, so that length says nothing about relevance
KEYWORDS = 0.2  # the share of questions put as keywords
EXCERPTS = 0.25  # queries that are excerpts, for each question
HELD_OUT = 400

_QUERIES_AT_ONCE = 256


def gather(
    records: Iterable[texts.Record], length: Callable[[Sequence[str]], list[int]], rng: random.Random
) -> tuple[Collection, list[Query]]:
    """Records -> all their passages, and their queries in a random order, each text once.

    Of the negatives of a record one is drawn; the others are only used where they are passages of other records.
    """
    collection = Collection()
    queries: dict[tuple[str, str], Query] = {}
    chosen = list(records)
    for record in chosen:
        drawn = rng.sample(record.negatives, min(1, len(record.negatives)))
        for passage in (record.positive, *drawn):
            collection.add(passage, record.lang, lambda text: texts.windows(text, length, rng.choice(LIMITS)))
    for record in chosen:
        query = Query(
            record.query,
            record.lang,
            record.source,
            positive=True,
            own=frozenset([collection.numbers[record.positive]]),
            given=frozenset(collection.numbers[text] for text in record.negatives if text in collection.numbers),
        )
        known = queries.setdefault((record.lang, record.query.casefold().strip(" ?？.。")), query)
        queries[record.lang, record.query.casefold().strip(" ?？.。")] = replace(
            known, own=known.own | query.own, given=known.given | query.given
        )
    questions = [
        replace(query, text=texts.keywords(query.text, query.lang)) if rng.random() < KEYWORDS else query
        for query in queries.values()
    ]
    made = questions + excerpts(collection, round(EXCERPTS * len(questions)), rng)
    rng.shuffle(made)
    return collection, made


def excerpts(collection: Collection, count: int, rng: random.Random) -> list[Query]:
    """Queries made of the passages' own words, as many in Chinese as in other languages."""
    passages: dict[bool, list[int]] = {True: [], False: []}
    for number, span in enumerate(collection.spans):
        if span:
            passages[collection.langs[span.start].startswith("zh")].append(number)
    groups = [group for group in passages.values() if group]
    made = []
    for _ in range(count):
        number = rng.choice(rng.choice(groups))
        window = rng.choice(collection.spans[number])
        lang = collection.langs[window]
        text = texts.excerpt(collection.windows[window], lang, rng)
        made.append(Query(text, lang, "excerpt", positive=False, own=frozenset([number])))
    return made


def write(file: Path, rows: Iterable[dict[str, object]]) -> None:
    """Write JSONL whole or not at all."""
    partial = file.with_suffix(".part")
    with partial.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    partial.replace(file)


def prepare(files: Sequence[Path], base: Path, out: Path, *, most: int, seed: int) -> Iterator[str]:
    """Read the files, write the lists; says what it did, line by line.

    Args:
        files: JSONL files of records.
        base: The base checkpoint's folder.
        out: Folder for the lists.
        most: The most records taken from one file.
        seed: Of every draw.
    """
    rng = random.Random(seed)
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))

    def length(parts: Sequence[str]) -> list[int]:
        return [len(encoding.ids) for encoding in tokenizer.encode_batch(list(parts), add_special_tokens=False)]

    records: list[texts.Record] = []
    for file in files:
        found = list(texts.read(file))
        records += rng.sample(found, most) if len(found) > most else found
    collection, queries = gather(records, length, rng)
    windows = collection.windows
    yield f"{len(records):,} records, {len(collection.numbers):,} passages, {len(windows):,} windows"
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch([f"query: {query.text}" for query in queries])]
    queries = [query for query, tokens in zip(queries, lengths, strict=True) if tokens <= LIMIT]
    yield f"{len(queries):,} queries, {len(lengths) - len(queries):,} of over {LIMIT} tokens left out"
    cache = out / "embeddings"
    vectors = embed(base, [f"passage: {text}" for text in windows], cache).astype(np.float32)
    query_vectors = embed(base, [f"query: {query.text}" for query in queries], cache).astype(np.float32)
    miner = Miner(collection, vectors, rng)
    lists = []
    for start in track(range(0, len(queries), _QUERIES_AT_ONCE), description="mining"):
        some = slice(start, start + _QUERIES_AT_ONCE)
        for query, cosines in zip(queries[some], query_vectors[some] @ vectors.T, strict=True):
            drawn = miner.draw(query, cosines)
            if len(drawn.candidates) > 1:
                lists.append(asdict(drawn))
    write(
        out / "passages.jsonl",
        ({"text": text, "lang": lang} for text, lang in zip(windows, collection.langs, strict=True)),
    )
    held_out = min(HELD_OUT, len(lists) // 10)
    write(out / "heldout.jsonl", lists[:held_out])
    write(out / "lists.jsonl", lists[held_out:])
    yield f"{len(lists) - held_out:,} lists, {held_out:,} held out, in {out}"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+", help="records: JSONL or JSONL.gz")
    parser.add_argument("--base", type=Path, required=True, help="encoder checkpoint: the bi-encoder and teacher")
    parser.add_argument("--out", type=Path, required=True, help="folder for the lists")
    parser.add_argument("--most", type=int, default=5_000, help="the most records taken from one file")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    console = Console()
    for line in prepare(options.files, options.base, options.out, most=options.most, seed=options.seed):
        console.print(line)


if __name__ == "__main__":
    main()
