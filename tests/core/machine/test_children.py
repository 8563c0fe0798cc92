"""Child processes: whose code they run, that they are heard whatever they print, that they end with their parent."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import bge_cpu
from bge_cpu.machine import children

NOISY = """
import os, subprocess, sys
print("printed at import, without an end", end="")
def answers(task):
    os.write(1, b"written past Python")
    subprocess.run(["echo", "from a child of its own"])
    for number in task:
        print("{}", number, end="")
        yield {"squared": number ** 2, "path": sys.path, "isolated": sys.flags.isolated, "site": sys.flags.no_site}
    print("{", file=sys.stderr)
"""


@pytest.fixture
def noisy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A child's module that prints wherever it can."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/noisy_child.py").write_text(NOISY)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    return "noisy_child"


def test_a_child_that_prints_is_heard(noisy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"  # what sitecustomize and its kin print comes before any line of ours
    python.write_text(f'#!/bin/sh\nhead -c 200000 /dev/zero\necho noise\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    task = list(range(50_000))  # more than a pipe holds, so that neither side may wait for the other
    assert [found["squared"] for found in children.answers(noisy, task[-3:])] == [49_997**2, 49_998**2, 49_999**2]
    first = next(children.answers(noisy, task))
    assert first["squared"] == 0


def test_a_child_never_imports_from_the_working_folder(
    noisy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for entry in ("", ".", str(tmp_path)):
        monkeypatch.syspath_prepend(entry)
    monkeypatch.setenv("PYTHONPATH", os.pathsep)  # an empty entry is the working folder
    (found,) = children.answers(noisy, [1])
    assert str(tmp_path / "modules") in found["path"]
    assert not {"", ".", str(tmp_path)} & set(found["path"])


PLANTED = ("onnx", "queue", "token", "json", "numpy", "importlib", "bge_cpu/__init__", "bge_cpu/quantization/fidelity")
GATE = """
import sys
from bge_cpu import Reranker
Reranker.load(sys.argv[1], mode="onnx-int8", cache_dir=sys.argv[2], min_fidelity=0.0)
"""


@pytest.mark.parametrize("isolated", [True, False])
def test_the_gate_runs_no_planted_code(isolated: bool, tiny_xlmr: Path, tmp_path: Path) -> None:
    folder = tmp_path / "downloads"
    for name in PLANTED:
        file = folder / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})")
    (tmp_path / "load.py").write_text(GATE)
    command = [sys.executable, *(["-I"] if isolated else []), str(tmp_path / "load.py"), str(tiny_xlmr)]
    done = subprocess.run([*command, str(tmp_path / "cache")], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists()
    assert len(list(tmp_path.glob("cache/*/fidelity.json"))) == 1


def test_a_child_is_as_isolated_as_its_parent(noisy: str, tmp_path: Path) -> None:
    script = f"""
import sys
sys.path[:0] = {[str(tmp_path / "modules"), str(Path(bge_cpu.__file__).parents[1]), *sys.path]}
from bge_cpu.machine import children
(found,) = children.answers("noisy_child", [1])
print(found["isolated"], found["site"])
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1 1\n", "")


def test_why_a_child_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_child.py").write_text(
        "import os, signal, sys\n"
        "from bge_cpu.errors import CheckpointError\n"
        "def answers(task):\n"
        "    if task == 'ours': raise CheckpointError('no tensor', hint='copy it again')\n"
        "    if task == 'bug': raise ValueError('first line\\nsecond line')\n"
        "    if task == 'exit': sys.exit('gone')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "    yield\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for task, words in (
        ("ours", "no tensor\nhint: copy it again"),
        ("bug", "first line"),
        ("exit", "gone"),
        ("kill", "it was killed by signal 9; for lack of memory, perhaps"),
    ):
        with pytest.raises(children.ChildFailed) as caught:
            children.ask("failing_child", task)
        assert str(caught.value) == words
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(children.ChildFailed, match="could not be started: No such file"):
        children.ask("failing_child", "ours")


LOGGING = """
import logging
def answers(task):
    logging.getLogger("bge_cpu.quantization").info("%s begins", task)
    logging.getLogger("elsewhere").warning("not ours")
    yield task
"""


def test_what_a_child_logs_is_logged_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "logging_child.py").write_text(LOGGING)
    monkeypatch.syspath_prepend(tmp_path)
    with caplog.at_level(logging.INFO, "bge_cpu"):
        assert children.ask("logging_child", "work") == "work"
    assert caplog.record_tuples == [("bge_cpu.quantization", logging.INFO, "work begins")]


SLEEPING = "import os, time\ndef answers(task):\n    yield os.getpid()\n    time.sleep(600)\n"


def test_a_killed_parent_takes_its_child_along(tmp_path: Path) -> None:
    (tmp_path / "sleeping_child.py").write_text(SLEEPING)
    script = f"""
import sys
sys.path[:] = {[str(tmp_path), *sys.path]}
from bge_cpu.machine import children
for answer in children.answers("sleeping_child", None): print(answer, flush=True)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert _runs(child)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 60
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(child)


def test_a_child_that_nobody_listens_to_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sleeping_child.py").write_text(SLEEPING)
    monkeypatch.syspath_prepend(tmp_path)
    answers = children.answers("sleeping_child", None)
    child = next(answers)
    answers.close()
    assert not _runs(child)


def _runs(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
