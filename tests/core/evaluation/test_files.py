"""Grades, rankings and texts from files."""

import gzip
from pathlib import Path

from bge_cpu.evaluation.files import read_grades, read_plain, read_run


def test_trec_files(tmp_path: Path) -> None:
    (tmp_path / "qrels").write_text("q1 0 d1 2\nq1 0 d2 -1\n\nq1 0 d1 2\n")
    assert read_grades(tmp_path / "qrels") == {"q1": {"d1": 2, "d2": -1}}
    (tmp_path / "run").write_text("q1 Q0 d1 1 0.5 tag\nq1 Q0 d2 2 9e-1 tag\nq1 Q0 d4 4 0.5 tag\nq1 Q0 d3 3 0.5 tag\n")
    assert read_run(tmp_path / "run") == {"q1": [("d2", 0.9), ("d1", 0.5), ("d3", 0.5), ("d4", 0.5)]}
    (tmp_path / "tsv").write_text("query-id\tcorpus-id\trank\tscore\nq1\td 1\t2\t7\nq1\td2\t1\t3.5\n")
    assert read_run(tmp_path / "tsv") == {"q1": [("d2", 3.5), ("d 1", 7.0)]}
    (tmp_path / "two").write_text("q1\td2\nq2\td3\nq1\td1\n")
    assert read_run(tmp_path / "two") == {"q1": [("d2", 0.0), ("d1", -1.0)], "q2": [("d3", 0.0)]}


def test_plain_files(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text('one\n\n {"text": 2} \n')
    assert read_plain(tmp_path / "texts.txt") == ({"1": "one", "3": '{"text": 2}'}, 1)
    (tmp_path / "texts.jsonl.gz").write_bytes(gzip.compress(b'{"text": "one", "title": "The"}\n'))
    assert read_plain(tmp_path / "texts.jsonl.gz") == ({"1": "The one"}, 0)
