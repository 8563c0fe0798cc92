"""`threads` bounds all our work, the tokenizer's too; without it OMP_NUM_THREADS does."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bge_cpu import Reranker
from bge_cpu.engines import thread_limit
from bge_cpu.machine.cpu import available_cpus, omp_threads
from bge_cpu.tokenizer import PairTokenizer
from tests import checkpoints

COUNTED = """
import os, sys
from bge_cpu import Reranker
threads = int(sys.argv[2]) if sys.argv[2] else None
reranker = Reranker.load(sys.argv[1], mode="onnx-int8", cache_dir=sys.argv[3], threads=threads, min_fidelity=None)
before = set(os.listdir("/proc/self/task"))
reranker.tokenizer.encode([("panda", "a bear " * 50)] * 200)
list(reranker.tokenizer.windows([("panda", "a bear " * 5_000)] * 3, whole=True))
print(len(set(os.listdir("/proc/self/task")) - before))
reranker.score([("panda", "a bear")] * 20)
print(sum(name.startswith("bge-cpu") for name in
          [open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task")]),
      len([thread for thread in __import__("threading").enumerate() if thread.name.startswith("bge-cpu")]))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's list of threads")
@pytest.mark.parametrize(("threads", "omp"), [("1", None), ("", "1")])
def test_one_thread_is_one_thread(tiny_xlmr: Path, tmp_path: Path, threads: str, omp: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment |= {} if omp is None else {"OMP_NUM_THREADS": omp}
    command = [sys.executable, "-c", COUNTED, str(tiny_xlmr), threads, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    new, ours = done.stdout.splitlines()
    assert new == "0", "the tokenizer starts no threads of its own"
    assert ours.endswith(" 1"), "the engine has one"


def test_any_number_of_threads_encodes_alike(tiny_xlmr: Path) -> None:
    pairs = [("panda", checkpoints.text(number % 40 + 1, seed=number)) for number in range(100)]
    file = tiny_xlmr / "tokenizer.json"
    expected = PairTokenizer.load(file).encode(pairs)
    for threads in (1, 2, 7):
        found = PairTokenizer.load(file, threads=threads).encode(pairs)
        assert all(np.array_equal(one.ids, other.ids) for one, other in zip(found, expected, strict=True))
    long = [("panda", checkpoints.text(2_000, seed=1))]
    windows = [
        [(window.span, window.pair.ids.tolist()) for window in tokenizer.windows(long, whole=True)]
        for tokenizer in (PairTokenizer.load(file, threads=threads) for threads in (None, 1, 2))
    ]
    assert windows[0] == windows[1] == windows[2]


def test_what_omp_num_threads_means(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, threads in (("3", 3), (" 2 ", 2), ("4,2", 4), ("", None), ("0", None), ("-1", None), ("many", None)):
        assert omp_threads({"OMP_NUM_THREADS": value}) == threads
    monkeypatch.setenv("OMP_NUM_THREADS", "1000000")
    assert thread_limit(None) == available_cpus(), "never more than there are"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert (thread_limit(None), thread_limit(3)) == (1, 3)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert thread_limit(None) is None


def test_the_reranker_passes_them_on(tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert Reranker.load(tiny_xlmr, mode="onnx").tokenizer._threads == 1
    assert Reranker.load(tiny_xlmr, mode="onnx", threads=2).tokenizer._threads == 2
