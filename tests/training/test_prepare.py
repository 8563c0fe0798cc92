"""Records -> lists with hard negatives and the teacher's scores."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs PyTorch")

from training import mine, prepare
from training.lists import Listed, Lists


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n")[:-1]]


def test_lists_have_the_positive_first_and_no_other_answer(lists: Path, records: Path) -> None:
    passages = rows(lists / "passages.jsonl")
    answers = {record["query"]: record["positive"] for record in rows(records)}
    labelled = [row for row in rows(lists / "lists.jsonl") if row["positive"]]
    assert labelled
    for row in labelled:
        found = [passages[number]["text"] for number in row["candidates"]]
        assert len(set(found)) == len(found) == len(row["scores"])
        if row["query"] in answers:  # not put as keywords
            assert found[0] in answers[row["query"]]
            assert not any(text in answers[row["query"]] for text in found[1:])


def test_excerpts_are_lists_without_a_positive(lists: Path) -> None:
    found = [row for row in rows(lists / "lists.jsonl") if row["source"] == "excerpt"]
    assert found and not any(row["positive"] for row in found)


def test_nothing_far_above_the_positive_counts_as_wrong(lists: Path) -> None:
    for row in rows(lists / "lists.jsonl"):
        if row["positive"]:
            assert max(row["scores"]) <= row["scores"][0] + mine.MARGIN + 1e-4


def test_same_seed_same_files_and_embeddings_are_reused(
    lists: Path, records: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(lists / "embeddings", tmp_path / "embeddings")
    monkeypatch.setattr("training.biencoder._Encoder", None)  # would fail if it were needed
    list(prepare.prepare([records], base, tmp_path, most=5_000, seed=1))
    for name in ("lists.jsonl", "heldout.jsonl", "passages.jsonl"):
        assert (tmp_path / name).read_bytes() == (lists / name).read_bytes()


def test_queries_too_long_to_embed_are_left_out_and_counted(records: Path, base: Path, tmp_path: Path) -> None:
    more = tmp_path / "records.jsonl"
    long = {"query": "fox " * 600, "positive": "A fox.", "negatives": [], "lang": "en", "source": "toy"}
    more.write_text(records.read_text(encoding="utf-8") + json.dumps(long) + "\n", encoding="utf-8")
    said = list(prepare.prepare([more], base, tmp_path, most=5_000, seed=1))
    assert "1 of over 512 tokens left out" in said[1]
    found = rows(tmp_path / "lists.jsonl") + rows(tmp_path / "heldout.jsonl")
    assert found and all(len(row["query"]) < 512 for row in found)


def test_separators_that_json_leaves_as_they_are_end_no_line(tmp_path: Path) -> None:
    query, passage = ("\u2028".join(f"{word}\u2029and\u0085more" for word in words) for words in ("ab", "cd"))
    prepare.write(tmp_path / "passages.jsonl", [{"text": passage, "lang": "en"}])
    prepare.write(
        tmp_path / "lists.jsonl", [{"query": query, "positive": True, "candidates": [0], "scores": [0.5]}] * 2
    )
    assert Lists(tmp_path, "lists", candidates=1).at(0, 1, seed=0) == [Listed(query, (passage,), (0.5,), True)]
    assert len(rows(tmp_path / "lists.jsonl")) == 2


def test_an_epoch_has_every_list_once(lists: Path) -> None:
    found = Lists(lists, "lists", candidates=3)
    epoch = [found.at(step, 1, seed=5)[0] for step in range(len(found))]
    assert sorted(each.query for each in epoch) == sorted(row["query"] for row in rows(lists / "lists.jsonl"))
    assert found.at(7, 2, seed=5) == found.at(7, 2, seed=5) != found.at(7, 2, seed=6)
    assert all(len(each.passages) <= 3 for each in epoch)
