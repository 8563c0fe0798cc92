"""Children seen from the parent: start one, ask it, and watch who else used the CPUs meanwhile."""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from contest.child import Pair
from contest.environments import last_line

FOLDER = Path(__file__).parents[1]
OFFLINE = {"HF_HUB_OFFLINE": "1"}
SETTLE = 1.0  # seconds; the thread pool that ran last may spin for a while


class ChildFailed(Exception):
    """A child ended without an answer; the message is the last line of what it wrote to stderr."""


class Child:
    """A process that runs `contest.child`.

    Args:
        python: The interpreter.
        module: Of this folder.
        function: Of the module; with "load" the child goes on to score pairs.
        arguments: For the function.
    """

    def __init__(self, python: Path, module: str, function: str, arguments: dict[str, Any]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the child)
        command, pipe = [str(python), "-m", "contest.child", module, function], subprocess.PIPE
        self._child = subprocess.Popen(
            command, cwd=FOLDER, env=os.environ | OFFLINE, stdin=pipe, stdout=pipe, stderr=self._log, text=True
        )
        self._say(arguments)

    def ask(self, calls: list[list[Pair]]) -> dict[str, Any]:
        """The child's answer to a list of calls: seconds, scores, peak_gb and anon_gb."""
        self._say(calls)
        answer: dict[str, Any] = self.answer()
        return answer

    def watched(self, calls: list[list[Pair]]) -> dict[str, Any]:
        """As `ask`, with the share of the CPUs that all other processes took meanwhile."""
        time.sleep(SETTLE)
        start, before = time.perf_counter(), self._others_seconds()
        answer = self.ask(calls)
        capacity = (time.perf_counter() - start) * (os.cpu_count() or 1)
        return answer | {"others_share": max(0.0, (self._others_seconds() - before) / capacity)}

    def answer(self) -> Any:
        """The next line of the child's."""
        line = self._child.stdout.readline() if self._child.stdout else ""
        if not line:
            code = self._child.wait()
            self._log.seek(0)
            reason = last_line(self._log.read().decode(errors="replace"))
            raise ChildFailed(reason if code >= 0 else f"killed by signal {-code}")
        return json.loads(line)

    def close(self) -> None:
        """Let the child end."""
        self._child.communicate()

    def _say(self, what: Any) -> None:
        assert self._child.stdin
        try:
            print(json.dumps(what), file=self._child.stdin, flush=True)
        except BrokenPipeError:
            self.answer()

    def _others_seconds(self) -> float:
        """CPU time taken by everyone but the child: user, nice, system, interrupts, and what the host stole."""
        everyone = Path("/proc/stat").read_text().split(maxsplit=9)
        child = Path(f"/proc/{self._child.pid}/stat").read_text().rpartition(")")[2].split()
        ticks = sum(int(everyone[field]) for field in (1, 2, 3, 6, 7, 8)) - int(child[11]) - int(child[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def call(python: Path, module: str, function: str, **arguments: Any) -> Any:
    """The result of a function that a child calls."""
    child = Child(python, module, function, arguments)
    try:
        return child.answer()
    finally:
        child.close()


def available_gb() -> float:
    """Memory that a new process could take, in 10^9 bytes."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024 / 1e9
