"""Processes that fork, and threads that outlive the main one, in every mode: they exit, load anew and score."""

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from bge_cpu import Reranker
from bge_cpu.engines import MODES
from tests import modes

FORKS = """
import os, signal, sys, threading, time
from bge_cpu import BgeCpuError, Reranker

def load():
    return Reranker.load(sys.argv[1], mode=sys.argv[2], cache_dir=sys.argv[3], threads=2, min_fidelity=None)

def score(reranker):
    return reranker.score([("panda", "a bear")]), reranker.score([("panda", "a bear"), ("panda", "竹子")] * 8)

def child(work):
    process = os.fork()
    if process == 0:
        signal.alarm(60)  # kills what hangs
        work()
        sys.exit(7)
    return process

def refused():
    try:
        reranker.score([("panda", "a bear")])
    except BgeCpuError:
        return
    raise AssertionError("a bare reranker knows that its threads stayed behind")

def loads_anew():
    assert score(load()) == expected

def load_and_drop():
    globals().pop("reranker")

reranker = load()
expected = score(reranker)
time.sleep(0.5)  # until all threads rest: it is those that rest for which a destructor waits
ended = [os.waitstatus_to_exitcode(os.waitpid(child(work), 0)[1]) for work in (refused, loads_anew, load_and_drop)]

stop = threading.Event()
def busy():
    while not stop.is_set():
        reranker.score([("panda", "a bear")] * 4)
thread = threading.Thread(target=busy)
thread.start()
ended += [os.waitstatus_to_exitcode(os.waitpid(child(lambda: None), 0)[1]) for _ in range(2)]  # meanwhile
stop.set()
thread.join()

assert score(reranker) == expected
print(ended)
"""


@pytest.mark.parametrize("mode", modes.params("native-int8", "onnx", "onnx-int8", "int8"))  # as "int8", "fp32", "bf16"
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_exits_and_loads_anew(mode: str, tiny_xlmr: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORKS, str(tiny_xlmr), mode, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == f"{[7] * 5}\n", done.stderr


AFTER_MAIN = """
import sys, threading
from bge_cpu import Reranker

def load(cache):
    return Reranker.load(sys.argv[1], mode=sys.argv[2], cache_dir=sys.argv[3] + cache, threads=2, min_fidelity=0.0)

def later():
    threading.main_thread().join()
    anew = [load("/other")] if sys.argv[2] != "fp32" else []  # transformers itself loads no more then
    print([len(each.score([("panda", "a bear"), ("panda", "竹子")] * 8)) for each in (reranker, *anew)])

reranker = load("/cache")
threading.Thread(target=later).start()
"""


@pytest.mark.parametrize("mode", modes.params("native-int8", "onnx-int8", "fp32"))
def test_threads_that_outlive_the_main_one_load_and_score(mode: str, tiny_xlmr: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", AFTER_MAIN, str(tiny_xlmr), mode, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stdout) == (0, "[16]\n" if mode == "fp32" else "[16, 16]\n"), done.stderr


INTERRUPTED = """
import atexit, os, signal, sys, threading, time
from bge_cpu.machine.pool import FairPool
begun, exiting = threading.Event(), threading.Event()
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
atexit.register(exiting.set)  # before the pool's own, which was registered earlier
def item(number):
    begun.set()
    exiting.wait(30)
    time.sleep(0.5)
    print("item", number, "ended", flush=True)
threading.Thread(target=lambda: begun.wait() and os.kill(os.getpid(), signal.SIGINT)).start()
FairPool(1, "p").map(item, range(100))
"""


def test_an_interrupted_process_waits_for_what_is_under_way_and_no_more() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60)
    assert done.returncode in (-2, 130) and done.stderr.endswith("KeyboardInterrupt\n")
    assert done.stdout == "item 0 ended\n"


@pytest.mark.parametrize("mode", modes.params(*MODES))
def test_a_reranker_that_is_dropped_is_gone(mode: str, tiny_xlmr: Path) -> None:
    """Its threads end; they keep neither it nor its gigabytes alive."""
    reranker = Reranker.load(tiny_xlmr, mode=mode, threads=2, min_fidelity=None)
    reranker.score([("panda", "a bear")] * 20)
    engine = weakref.ref(reranker.engine)
    del reranker
    gc.collect()
    assert engine() is None
