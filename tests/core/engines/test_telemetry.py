"""Nothing leaves the machine and nothing is written that was not asked for: no library's telemetry."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import modes

pytestmark = pytest.mark.slow

SCRIPT = """
import sys, time
from bge_cpu import Reranker
Reranker.load("mini", mode=sys.argv[1], local_files_only=True, cache_dir=sys.argv[2]).score([("panda", "a bear")])
for adapter in sys.argv[3:]:
    __import__(adapter)
time.sleep(2)  # ONNX Runtime's first call home comes from a thread, a moment after its import
"""


def watched(home: Path, *arguments: str, **settings: str) -> tuple[list[str], list[str]]:
    """What a process wrote below its home, and the connections it wanted, where strace is installed to see them."""
    home.mkdir()
    trace = home.parent / f"{home.name}.trace"
    unset = ["ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "HF_HOME"]
    unset += ["CI", "CONTINUOUS_INTEGRATION", "GITHUB_ACTIONS", "GITLAB_CI", "TF_BUILD"]  # ONNX Runtime is silent there
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"HOME": str(home), "HF_HUB_OFFLINE": "1"} | settings
    strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,sendto,sendmmsg", "-o", str(trace)]
    command = [*(strace if shutil.which("strace") else ()), sys.executable, "-c", SCRIPT, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    calls = trace.read_text().splitlines() if trace.exists() else []
    wrote = [file.relative_to(home).as_posix() for file in home.rglob("*") if file.is_file()]
    return wrote, [call for call in calls if "AF_INET" in call]


@pytest.mark.parametrize(
    ("mode", "adapters"),
    [
        ("onnx-int8", ("langchain_bge_cpu", "llamaindex_bge_cpu")),
        pytest.param("fp32", (), marks=modes.needs_torch),
    ],
)
def test_a_model_loads_and_scores_in_silence(tmp_path: Path, mode: str, adapters: tuple[str, ...]) -> None:
    wrote, called = watched(tmp_path / "home", mode, str(tmp_path / "artifacts"), *adapters)
    assert (wrote, called) == ([], [])


def test_the_watch_would_see_it_and_a_user_may_want_it(tmp_path: Path) -> None:
    wrote, _ = watched(tmp_path / "home", "onnx", str(tmp_path / "artifacts"), ORT_DISABLE_TELEMETRY="0")
    if not wrote:
        pytest.skip("this version of ONNX Runtime has no telemetry")
    assert all("onnxruntime" in name for name in wrote)
