"""The doctor on the software: versions, PyTorch, the clash of transformers 4 with Keras 3, thread settings."""

import platform
from collections.abc import Iterable, Mapping
from importlib import metadata

from bge_cpu.doctor.check import OK, PROBLEM, WARNING, Check, listed
from bge_cpu.engines import MODES
from bge_cpu.machine.cpu import omp_threads

_BASE = ("onnxruntime", "onnx", "tokenizers", "safetensors", "huggingface_hub")
_TORCH = ("torch", "transformers")
_TENSORFLOW = ("tensorflow", "tensorflow-cpu", "tensorflow-intel", "tensorflow-macos", "tf-nightly")
_TRUE = ("1", "ON", "YES", "TRUE")  # as transformers 4 reads USE_TF and USE_TORCH
_THREAD_SETTINGS = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "TOKENIZERS_PARALLELISM")


def installed() -> dict[str, str]:
    """The versions of the distributions that this module asks for, where they are installed."""
    versions = {}
    for name in ("bge-cpu", *_BASE, *_TORCH, *_TENSORFLOW, "keras", "tf-keras"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def packages(versions: Mapping[str, str]) -> Check:
    """The versions of what every mode needs."""
    found = f"Python {platform.python_version()}, {_versions(('bge-cpu', *_BASE), versions)}"
    missing = [name for name in _BASE if name not in versions]
    if missing:
        return Check("packages", PROBLEM, found, "every mode needs them", f"pip install {' '.join(missing)}")
    return Check("packages", OK, found)


def pytorch(mode: str, versions: Mapping[str, str]) -> Check:
    """Whether the extra `torch` is installed, and whether the mode needs it."""
    found, modes = _versions(_TORCH, versions), listed(name for name, extra in MODES.items() if extra == "torch")
    if all(name in versions for name in _TORCH):
        return Check("PyTorch", OK, found, f"for {modes}")
    status = PROBLEM if MODES.get(mode) == "torch" else OK
    return Check("PyTorch", status, found, f"{modes}: cannot run", "pip install 'bge-cpu[torch]'")


def keras(mode: str, versions: Mapping[str, str], environ: Mapping[str, str]) -> Check:
    """Whether transformers 4 would import TensorFlow and stumble over Keras 3."""
    tensorflow = [name for name in _TENSORFLOW if name in versions]
    clash = tensorflow and _major(versions, "keras") >= 3 and "tf-keras" not in versions
    if not clash or _major(versions, "transformers") != 4:
        return Check("Keras", OK, "no clash with transformers")
    found = f"{_versions(('transformers', *tensorflow, 'keras'), versions)}, no tf-keras"
    remedy = "upgrade to transformers 5, or pip install tf-keras, or start Python with USE_TF=0"
    concerned = MODES.get(mode) == "torch"
    setting = environ.get("USE_TF")
    forced = (setting or "").upper() in (*_TRUE, "AUTO") and environ.get("USE_TORCH", "").upper() not in _TRUE
    if forced:
        meaning = f"transformers 4 cannot import Keras 3, and USE_TF={setting} makes it try"
        return Check("Keras", PROBLEM if concerned else OK, found, meaning, remedy)
    meaning = (
        "transformers 4 cannot import Keras 3. bge-cpu sets USE_TF=0, so that it does not try; that comes too late "
    )
    meaning += "in a program that has imported transformers before"
    return Check("Keras", WARNING if concerned else OK, found, meaning, remedy)


def environment(environ: Mapping[str, str], threads: int) -> Check:
    """Whether variables ask for other numbers of threads than bge-cpu uses."""
    found = listed(f"{name}={environ[name]}" for name in _THREAD_SETTINGS if name in environ)
    omp = omp_threads(environ)
    if omp is not None and omp < threads:
        meaning = f"bge-cpu follows OMP_NUM_THREADS and uses {omp} of {threads} CPUs, unless --threads says more"
        return Check("threads set", OK, found, meaning)
    if environ.get("TOKENIZERS_PARALLELISM", "true").lower() in ("", "off", "false", "f", "no", "n", "0"):
        return Check("threads set", OK, found, "texts are tokenised on one CPU")
    return Check("threads set", OK, found or "nothing in the environment")


def _versions(names: Iterable[str], versions: Mapping[str, str]) -> str:
    return listed(f"{name} {versions.get(name, 'not installed')}" for name in names)


def _major(versions: Mapping[str, str], name: str) -> int:
    start = versions.get(name, "").partition(".")[0]
    return int(start) if start.isdigit() else 0
