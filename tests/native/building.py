"""The kernels' build script, native/build.py, as a module: `native` alone would be benchmarks/native.py here."""

import importlib.util
from pathlib import Path

_FILE = Path(__file__).resolve().parents[2] / "native/build.py"
_spec = importlib.util.spec_from_file_location("native_build", _FILE)
assert _spec is not None and _spec.loader is not None
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)
