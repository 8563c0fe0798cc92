"""A set of queries, documents and relevance grades in BEIR's layout, read from its folder."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

from bge_cpu.errors import InputError
from bge_cpu.evaluation.files import Grades, Run, find, read_grades, read_pairs, read_run, read_texts

FIRST_STAGES = ("candidates.tsv", "candidates.trec", "candidates.run")
EXCLUDED = ("excluded.tsv", "minus1.tsv")
BM25 = "BM25"


@dataclass(frozen=True)
class Collection:
    """What a folder holds.

    Attributes:
        name: The folder's name.
        documents: Texts by id; those without text are left out.
        queries: Texts by id.
        grades: Relevance by query and document: 0 or less is not relevant; None where nothing is judged.
        ranking: A first stage's rankings; None stands for BM25's, made when they are needed.
        first_stage: What the first stage is called.
        excluded: Documents by query that are neither relevant nor not: nobody gets them to rank.
        notes: How many of what were left out.
    """

    name: str
    documents: Mapping[str, str]
    queries: Mapping[str, str]
    grades: Grades | None = None
    ranking: Run | None = None
    first_stage: str = BM25
    excluded: Mapping[str, AbstractSet[str]] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)


def read(folder: str | Path, *, split: str = "test", first_stage: str | None = None, judged: bool = True) -> Collection:
    """Read a folder: corpus.jsonl, queries.jsonl, qrels.tsv or qrels/<split>.tsv; each may be gzipped (`.gz`).

    Optional are a first stage's rankings (candidates.tsv, candidates.trec or candidates.run; else it will be BM25), and
    excluded.tsv (or minus1.tsv): query-id and corpus-id of documents that are not to be ranked for a query.

    Args:
        folder: The folder.
        split: Which file of qrels/ is read.
        first_stage: Another file of the folder with rankings; "bm25" passes over all of them.
        judged: Whether qrels are read; they must be there then.

    Raises:
        InputError: A file is missing or wrong; it names the line.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder", hint="a set is a folder with corpus.jsonl, queries.jsonl, qrels")
    corpus = read_texts(_file(folder, "corpus.jsonl"))
    documents = {key: text for key, text in corpus.items() if text not in ("", "(empty)")}
    queries = read_texts(_file(folder, "queries.jsonl"))
    for texts, name in ((documents, "corpus"), (queries, "queries")):
        if not texts:
            raise InputError(f"{_file(folder, f'{name}.jsonl')} holds no text")
    grades = read_grades(_file(folder, "qrels.tsv", f"qrels/{split}.tsv")) if judged else None
    if first_stage is None:
        rankings = find(folder, *FIRST_STAGES)
    else:
        rankings = None if first_stage.lower() == "bm25" else _file(folder, first_stage)
    excluded = find(folder, *EXCLUDED)
    return Collection(
        name=folder.resolve().name,
        documents=documents,
        queries=queries,
        grades=grades,
        ranking=read_run(rankings) if rankings else None,
        first_stage=rankings.name if rankings else BM25,
        excluded=read_pairs(excluded) if excluded else {},
        notes={"documents without text (left out)": len(corpus) - len(documents)}
        | _unknown_ids(grades, queries, corpus),
    )


def _unknown_ids(grades: Grades | None, queries: Mapping[str, str], corpus: Mapping[str, str]) -> dict[str, int]:
    """How many ids of the grades are in none of the other files."""
    judged = grades or {}
    unknown = sum(key not in corpus for query in queries for key, grade in judged.get(query, {}).items() if grade > 0)
    return {
        "judged queries that are unknown (passed over)": sum(query not in queries for query in judged),
        "relevant documents that are not in the corpus (they count as not found)": unknown,
    }


def _file(folder: Path, *names: str) -> Path:
    file = find(folder, *names)
    if file is None:
        others = sorted(path.name.removesuffix(".gz").removesuffix(".tsv") for path in folder.glob("qrels/*.tsv*"))
        hint = f"its qrels have the splits {', '.join(others)}" if others and "qrels.tsv" in names else ""
        raise InputError(f"{folder} holds no {' and no '.join(names)}", hint=hint)
    return file
