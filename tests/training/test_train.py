"""Lists -> a run that falls, can be killed and goes on; and what is exported of it."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from bge_cpu import Reranker

torch = pytest.importorskip("torch", reason="training needs PyTorch")
transformers = pytest.importorskip("transformers", reason="training needs transformers")

from training import loss
from training.run import Run
from training.validate import Judged

ROOT = Path(__file__).resolve().parents[2]
STEPS = 40
Command = Callable[..., list[str]]
Runner = Callable[..., subprocess.CompletedProcess[str]]
PAIR = ("what is fox?", "The quick brown fox jumps over the lazy dog.")


@pytest.fixture(scope="module")
def arguments(small: Path, lists: Path) -> list[object]:
    return [
        *("--base", small, "--lists", lists, "--layers", 0, 2, "--steps", STEPS, "--threads", 1),
        *("--learning-rate", 0.01, "--temperature", 0.02, "--label-weight", 1, "--save-every", 5),
        *("--validate-every", 20, "--lists-per-step", 8, "--candidates", 4),
    ]


@pytest.fixture(scope="module")
def whole(run: Runner, arguments: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    run("train", *arguments, "--run", folder)
    return folder


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    """An evaluation folder of one query; its text has characters that end lines for `str.splitlines`."""
    folder = tmp_path / "judged"
    folder.mkdir()
    with gzip.open(folder / "corpus.jsonl.gz", "wt", encoding="utf-8") as stream:
        stream.write('{"id": "d1", "text": "the fox\u2028jumps"}\n{"id": "d2", "text": "a lazy dog"}\n')
    (folder / "queries.jsonl").write_text('{"id": "q1", "text": "the\u2028fox\u2029or\u0085so"}\n', encoding="utf-8")
    (folder / "qrels.tsv").write_text("q1\td1\t1\n")
    return folder


def rows(folder: Path) -> list[dict[str, Any]]:
    log = folder / "log.jsonl"
    return [json.loads(line) for line in log.read_text().split("\n")[:-1]] if log.is_file() else []


def losses(folder: Path) -> list[tuple[int, float]]:
    return [(row["step"], row["loss"]) for row in rows(folder) if "loss" in row]


def test_the_loss_falls(whole: Path) -> None:
    curve = [value for _, value in losses(whole)]
    assert sum(curve[-10:]) < 0.8 * sum(curve[:10])
    assert (whole / "plot.png").stat().st_size > 0


def test_killed_and_resumed_it_is_the_same_curve(
    run: Runner, command: Command, arguments: list[object], whole: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen(command("train", *arguments, "--run", tmp_path), cwd=ROOT, stdout=subprocess.DEVNULL)
    while process.poll() is None and len(losses(tmp_path)) < 12:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 12 <= len(losses(tmp_path)) < STEPS
    resumed = run("train", *arguments, "--run", tmp_path, "--threads", 2)
    assert "resumed after step" in resumed.stdout
    assert losses(tmp_path) == losses(whole)
    checks = [[row for row in rows(folder) if "validation" in row] for folder in (tmp_path, whole)]
    assert checks[0] == checks[1]


def test_a_resumed_run_may_get_other_validation_sets(
    run: Runner, arguments: list[object], whole: Path, judged: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(whole, tmp_path / "run")
    run("train", *arguments, "--run", folder, "--steps", STEPS + 1, "--validation", judged)
    assert rows(folder)[-1]["validation"].keys() == {judged.name}


def test_a_plot_that_fails_costs_no_step(run: Runner, arguments: list[object], whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "run", ignore=shutil.ignore_patterns("plot.png"))
    (folder / "plot.png").mkdir()
    with pytest.raises(subprocess.CalledProcessError):
        run("train", *arguments, "--run", folder, "--steps", STEPS + 1)
    state = Run(folder, json.loads((folder / "options.json").read_text())).restore()
    assert state and state["step"] == STEPS + 1


def test_queries_may_have_separators_that_end_no_line(judged: Path) -> None:
    assert Judged(judged, queries=10, candidates=2).bm25 == 1.0


def test_a_run_keeps_its_options(tmp_path: Path) -> None:
    Run(tmp_path, {"seed": 1, "base": "small"})
    Run(tmp_path, {"seed": 1, "base": "small"})
    with pytest.raises(ValueError, match="seed was 1"):
        Run(tmp_path, {"seed": 2, "base": "small"})


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    run = Run(tmp_path, {})
    run.append({"step": 1, "loss": 2.0})
    with run.log.open("a") as stream:
        stream.write('{"step": 2, "lo')
    assert run.rows() == [{"step": 1, "loss": 2.0}]


def test_the_exported_folder_scores_in_bge_cpu(run: Runner, whole: Path, tmp_path: Path) -> None:
    run("export", whole, tmp_path)
    assert sorted(os.listdir(tmp_path)) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    scores = [Reranker.load(tmp_path, mode=mode).score([PAIR])[0] for mode in ("fp32", "onnx")]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer(*PAIR).input_ids == Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode(*PAIR).ids


def test_a_student_like_its_teacher_loses_nothing() -> None:
    scores = torch.tensor([0.9, 0.8, 0.85])
    assert loss.distillation(scores / 0.01, scores, 0.01).item() == pytest.approx(0, abs=1e-5)
    assert loss.distillation(-scores / 0.01, scores, 0.01) > 1


def test_labels_count_only_where_the_positive_is_known() -> None:
    logits, scores = torch.tensor([0.0, 1.0, 2.0, 3.0]), [[0.9, 0.8], [0.9, 0.8]]
    known, unknown = (
        loss.total(logits, scores, [flag, False], temperature=0.01, label_weight=1.0) for flag in (True, False)
    )
    assert (known - unknown).item() == pytest.approx(loss.label(logits[:2]).item() / 2)
