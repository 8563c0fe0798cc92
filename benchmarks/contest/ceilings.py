"""The GEMM ceilings of this machine, from two libraries in environments that are there anyway."""

import os
from typing import Any

from contest.bench import Bench
from contest.environments import EnvironmentFailed
from contest.gemm import Rates, ceiling, shapes
from contest.processes import ChildFailed, call

LIBRARIES = {"ONNX Runtime": ("bge-cpu", "gemm_onnxruntime"), "PyTorch": ("article", "gemm_torch")}
KINDS = ("fp32", "int8")


class Ceilings:
    """What was measured so far.

    Args:
        bench: Whose environments it takes.
        config: The checkpoint's.

    Attributes:
        failed: Why something is missing, if so.
    """

    def __init__(self, bench: Bench, config: dict[str, Any]) -> None:
        self._bench, self._config, self.failed = bench, config, ""
        self._rates: dict[str, list[Rates]] = {name: [] for name in LIBRARIES}

    def measure(self) -> None:
        """Measure once more."""
        threads = len(os.sched_getaffinity(0))
        for name, (environment, module) in LIBRARIES.items():
            try:
                python = self._bench.environment(environment).python
                found = call(python, module, "measure", shapes=shapes(self._config), threads=threads)
                self._rates[name].append(found)
            except (ChildFailed, EnvironmentFailed) as error:
                self.failed = f"{name}: {error}"

    def results(self) -> dict[str, Any]:
        """The best of all times, of either library and of both: 10^9 operations per second."""
        rates = {name: found for name, found in self._rates.items() if found}
        if not rates:
            return {}
        own = {name: {kind: ceiling(self._config, found, kind) for kind in KINDS} for name, found in rates.items()}
        both = [each for found in rates.values() for each in found]
        return {kind: ceiling(self._config, both, kind) for kind in KINDS} | {"libraries": own, "measured": rates}
