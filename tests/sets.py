"""A small judged set, four documents and four queries in two languages, written in either layout."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

CORPUS = {"d1": "red apples grow on trees", "d2": "apples and pears", "d3": "苹果是一种水果", "d4": "ships at sea"}
QUERIES = {"q1": "apples", "q2": "苹果水果", "q3": "sea ships apples", "q4": "quartz"}
GRADES = {"q1": {"d2": 1}, "q2": {"d3": 2, "d1": 0}, "q3": {"d4": 3, "d2": 1}, "q4": {"d4": 1}}


def jsonl(records: Iterable[Any]) -> str:
    """A line of JSON per record."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def flat(folder: Path, **files: str | bytes) -> Path:
    """A flat folder of the texts above; a file is given by its name with _ for the dots, its content replaces ours."""
    ours = {
        "corpus.jsonl": jsonl({"id": key, "text": text} for key, text in CORPUS.items()),
        "queries.jsonl": jsonl({"id": key, "text": text, "lang": "en"} for key, text in QUERIES.items()),
        "qrels.tsv": "".join(f"{q}\t{d}\t{grade}\n" for q, found in GRADES.items() for d, grade in found.items()),
    }
    content: dict[str, str | bytes] = {**ours, **{name.replace("_", "."): text for name, text in files.items()}}
    folder.mkdir(exist_ok=True)
    for name, text in content.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def beir(folder: Path, corpus: Mapping[str, str], queries: Mapping[str, str], qrels: str) -> Path:
    """A folder in BEIR's layout; the qrels are those of the split "test"."""
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", corpus), ("queries", queries)):
        lines = [json.dumps({"_id": key, "text": text}) for key, text in texts.items()]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    (folder / "qrels/test.tsv").write_text(qrels)
    return folder
