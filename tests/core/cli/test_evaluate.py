"""`bge-cpu evaluate` on small sets: what it prints, writes and refuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bge_cpu.engines import default_mode
from bge_cpu.evaluation import prepare, read
from bge_cpu.evaluation.agreement import probe
from bge_cpu.evaluation.files import read_run
from bge_cpu.evaluation.measures import measure
from tests.commands import COMMAND, Call, caller
from tests.sets import CORPUS, QUERIES, beir

QRELS = "query-id\tcorpus-id\tscore\nq1\td2\t1\nq2\td3\t2\nq3\td4\t3\nq3\td2\t1\n"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    call = caller(capsys, monkeypatch)
    return lambda *arguments: call("evaluate", *arguments)


@pytest.fixture
def fruit(tmp_path: Path) -> Path:
    return beir(tmp_path / "fruit", CORPUS, QUERIES, QRELS)


@pytest.mark.slow
def test_as_a_process_with_two_modes(fruit: Path, tiny_xlmr: Path, tmp_path: Path) -> None:
    other = beir(tmp_path / "fruit 2", CORPUS, QUERIES | {"q1": "apples " * 600}, QRELS)
    (other / "candidates.tsv").write_text("q1\td1\nq1\td2\nq3\td2\n")
    files = ["--json", tmp_path / "out.json", "--runs", tmp_path / "new/runs", "--chart", tmp_path / "chart.svg"]
    command = [*COMMAND, "evaluate", str(fruit), str(other)]
    command += [
        "--model",
        str(tiny_xlmr),
        "--mode",
        "onnx",
        "--mode",
        "onnx-int8",
        "--candidates",
        "3",
        *map(str, files),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "fruit  3 of 4 queries · 4 documents · top 3 of BM25"
    assert lines[1].split() == ["nDCG@10", "MRR@10", "P@1", "Recall@3", "time", "per", "query"]
    assert [line.split()[0] for line in lines[2:5]] == ["BM25", "onnx", "onnx-int8"]
    assert lines[5].startswith(" onnx − BM25       nDCG@10 ")
    assert lines[6].startswith(" onnx-int8 − onnx  nDCG@10 ")
    assert " queries without a relevant document (left out): 1" in lines
    assert "fruit 2  2 of 4 queries · 4 documents · top 3 of candidates.tsv" in lines
    assert [line for line in done.stderr.splitlines() if line.startswith("warning")] == [
        f"warning: {mode}: cut to max_length=512 tokens: 2 of 9 pairs" for mode in ("onnx", "onnx-int8")
    ]

    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["bootstrap"] == {"samples": 10_000, "level": 0.95, "seed": 0}
    first, second = figures["sets"]
    assert (first["name"], first["queries"], first["size"], first["documents"]) == ("fruit", 3, 4, 4)
    assert [system["name"] for system in second["systems"]] == ["candidates.tsv", "onnx", "onnx-int8"]
    assert [system["pairs_cut"] for system in second["systems"]] == [0, 2, 2]

    runs = tmp_path / "new/runs"
    assert {path.name for path in runs.iterdir()} == {
        f"{name}.{system}.trec" for name in ("fruit 2", "fruit") for system in ("first-stage", "onnx", "onnx-int8")
    }
    task = prepare(read(fruit), candidates=3)
    for system, name in zip(first["systems"], ("first-stage", "onnx", "onnx-int8"), strict=True):
        values = measure(task.grades, read_run(runs / f"fruit.{name}.trec"), depth=3)
        for key, found in system["measures"].items():
            assert found["mean"] == pytest.approx(values[key].mean())
            assert found["low"] <= found["mean"] <= found["high"]
    assert b"<svg" in (tmp_path / "chart.svg").read_bytes()


def test_json_to_stdout_and_the_model_s_own_mode(run: Call, fruit: Path, tiny_xlmr: Path) -> None:
    options = ["--model", tiny_xlmr, "--json", "-", "--sample", "1", "--first-stage", "bm25"]
    code, out, err = run(fruit, *options)
    assert code == 0 and "warning" not in err
    (found,) = json.loads(out)["sets"]
    assert [system["name"] for system in found["systems"]] == ["BM25", default_mode()]
    assert found["queries"] == 1
    assert found["systems"][0]["seconds_per_query"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "error: nowhere is not a folder\nhint: "),
        (["{set}", "{set}"], "error: two of fruit, fruit are called 'fruit'"),
        (["{set}", "--mode", "int4"], "error: mode is one of fp32,"),
        (["{set}", "--sample", "0"], "error: --sample is a whole number of at least 1, not 0"),
        (["{set}", "--candidates", "0"], "error: candidates is a whole number of at least 1, not 0"),
        (["{set}", "--min-grade", "0"], "error: min_grade is a whole number of at least 1, not 0"),
        (["{set}", "--first-stage", "x.tsv"], "fruit holds no x.tsv"),
        (["{set}", "--split", "dev"], "holds no qrels.tsv and no qrels/dev.tsv\nhint: its qrels have the splits test"),
        (["{set}", "--chart", "a.pdf"], "error: --chart is a file that ends in .svg or .png, not 'a.pdf'"),
        (["{set}", "--chart", "no/a.svg"], "error: no/a.svg cannot be written: there is no folder no"),
        (["{set}", "--json", "{set}"], "fruit cannot be written: it is a folder"),
        (["{set}", "--runs", "{set}/corpus.jsonl"], "corpus.jsonl cannot be made: File exists"),
    ],
)
def test_wrong_usage_ends_with_2(
    run: Call,
    fruit: Path,
    tiny_xlmr: Path,
    arguments: list[str],
    message: str,
) -> None:
    arguments = [argument.format(set=fruit) for argument in arguments]
    code, out, err = run(*arguments, "--model", tiny_xlmr)
    assert code == 2
    assert message in err
    assert out == ""


def test_ids_that_a_trec_run_cannot_hold_are_refused_before_the_work(run: Call, tmp_path: Path) -> None:
    folder = beir(tmp_path / "set", {"d 1": "apples"}, {"q1": "apples"}, "q1\td 1\t1\n")
    code, _, err = run(folder, "--model", "unused", "--runs", tmp_path / "runs")
    assert code == 2
    assert "error: the id 'd 1' has white space in it" in err


@pytest.mark.parametrize("missing", ["bm25s", "ir_measures", "matplotlib"])
def test_a_missing_package_names_the_extra(tmp_path: Path, missing: str) -> None:
    script = (
        "import sys; sys.modules[sys.argv[1]] = None\n"
        "from bge_cpu.cli import main\n"
        "main(['evaluate', sys.argv[2], '--model', 'unused', '--chart', sys.argv[2] + '/chart.svg'])"
    )
    command = [sys.executable, "-c", script, missing, str(beir(tmp_path / "set", CORPUS, QUERIES, QRELS))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: evaluation needs {missing}, which is not installed\n")
    assert "hint: pip install 'bge-cpu[evaluation]'" in done.stderr


def test_the_command_imports_nothing_heavy_and_the_package_no_extra() -> None:
    heavy = ["torch", "transformers", "onnxruntime", "ir_measures", "bm25s", "matplotlib", "scipy"]
    script = f"import bge_cpu.cli, bge_cpu.evaluation, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.model
def test_a_trained_checkpoint_is_better_than_bm25_on_the_probe(run: Call, mini: Path, tmp_path: Path) -> None:
    found = probe()
    qrels = "".join(f"{query}\t{ranked[0][0]}\t1\n" for query, ranked in (found.ranking or {}).items())
    folder = beir(tmp_path / "probe", dict(found.documents), dict(found.queries), qrels)
    options = ["--mode", "onnx", "--mode", "onnx-int8", "--candidates", "10", "--json", "-"]
    code, out, _ = run(folder, "--model", mini, *options)
    assert code == 0
    (report,) = json.loads(out)["sets"]
    _, onnx, int8 = report["systems"]
    assert onnx["against"]["BM25"]["nDCG@10"]["mean"] > 0
    assert abs(int8["against"]["onnx"]["nDCG@10"]["mean"]) < 0.1
