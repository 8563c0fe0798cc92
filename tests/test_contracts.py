"""Promises about the package as a whole: names, imports, what a wheel holds."""

import ast
import inspect
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path, PurePosixPath

import pytest

import bge_cpu
import langchain_bge_cpu
import llamaindex_bge_cpu
from bge_cpu.engines import INT8_MODES, MODES
from tests import modes
from tests.modes import needs_torch

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("bge_cpu", "langchain_bge_cpu", "llamaindex_bge_cpu")


def run(script: str, *arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script in a new process; `path` goes before everything else that can be imported."""
    start = f"import sys; sys.path.insert(0, {str(path)!r})\n" if path else ""
    return subprocess.run(
        [sys.executable, "-c", start + script, *arguments], capture_output=True, text=True, timeout=120
    )


def test_public_names() -> None:
    assert set(bge_cpu.__all__) == {
        "ArtifactError",
        "BgeCpuError",
        "CheckpointError",
        "FidelityError",
        "InputError",
        "MissingDependencyError",
        "Ranked",
        "Ranking",
        "Reranker",
        "ServiceError",
    }
    assert all(hasattr(bge_cpu, name) for name in bge_cpu.__all__)


def test_the_version_is_looked_up_when_it_is_asked_for() -> None:
    assert bge_cpu.__version__ == version("bge-cpu")
    done = run("import bge_cpu, sys; print('importlib.metadata' in sys.modules, bge_cpu.__version__)")
    assert done.stdout == f"False {version('bge-cpu')}\n", done.stderr
    with pytest.raises(AttributeError, match="module 'bge_cpu' has no attribute 'version'"):
        _ = getattr(bge_cpu, "version")  # noqa: B009


def test_import_loads_no_framework() -> None:
    heavy = ["torch", "transformers", "onnxruntime", "onnx", "langchain_core", "llama_index", "httpx", "httpx2"]
    done = run(f"import bge_cpu, sys; print([name for name in {heavy} if name in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr


def test_onnx_needs_no_torch_and_no_transformers(tiny_xlmr: Path) -> None:
    done = run(
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from bge_cpu import Reranker\n"
        "print(len(Reranker.load(sys.argv[1], mode='onnx').score([('a', 'b')])))",
        str(tiny_xlmr),
    )
    assert done.stdout.strip() == "1", done.stderr


def test_a_missing_framework_names_the_extra(tiny_xlmr: Path) -> None:
    done = run(
        "import sys; sys.modules['torch'] = None\n"
        "from bge_cpu import Reranker, MissingDependencyError\n"
        "try: Reranker.load(sys.argv[1], mode='fp32')\n"
        "except ImportError as error: print(type(error).__name__, error)",
        str(tiny_xlmr),
    )
    assert "MissingDependencyError mode 'fp32' needs torch, which is not installed" in done.stdout, done.stderr
    assert "pip install 'bge-cpu[torch]'" in done.stdout


@pytest.mark.slow
@needs_torch
def test_a_framework_that_fails_to_import_says_so(tiny_xlmr: Path, tmp_path: Path) -> None:
    (tmp_path / "transformers.py").write_text("raise ImportError('Keras 3 is not supported')")
    done = run(
        "from bge_cpu import Reranker, MissingDependencyError\n"
        "try: Reranker.load(sys.argv[1], mode='fp32')\n"
        "except MissingDependencyError as error: print(error)",
        str(tiny_xlmr),
        path=tmp_path,
    )
    assert "mode 'fp32' cannot import its framework: Keras 3 is not supported" in done.stdout, done.stderr
    assert "USE_TF=0" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("mode", modes.params(*MODES))
def test_a_broken_keras_and_tensorflow_on_the_path_do_no_harm(tiny_xlmr: Path, tmp_path: Path, mode: str) -> None:
    for name in ("keras", "tf_keras", "tensorflow"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(
            "__version__ = '3.0.0'\nraise ImportError('Your currently installed version of Keras is Keras 3')"
        )
        (tmp_path / f"{name}-3.0.0.dist-info").mkdir()
        (tmp_path / f"{name}-3.0.0.dist-info/METADATA").write_text(f"Name: {name}\nVersion: 3.0.0\n")
    done = run(
        "from bge_cpu import Reranker\n"
        f"print(len(Reranker.load(sys.argv[1], mode={mode!r}, min_fidelity=None).score([('a', 'b')])))\n"
        "print([name for name in ('keras', 'tf_keras', 'tensorflow') if name in sys.modules])",
        str(tiny_xlmr),
        path=tmp_path,
    )
    assert done.stdout.splitlines() == ["1", "[]"], done.stderr


def test_each_mode_is_a_module_with_its_loader_and_its_imports_at_the_top() -> None:
    engines = ROOT / "core/bge_cpu/engines"
    shared = {"--init--", "gated", "measured", "packing"}
    assert {file.stem.replace("_", "-") for file in engines.glob("*.py")} - shared == set(MODES)
    for mode in MODES:
        tree = ast.parse((engines / f"{mode.replace('-', '_')}.py").read_text())
        public = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"}
        assert {"recipe", "from_file"} == public if mode in INT8_MODES else "load" in public
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        assert all(node in tree.body for node in imports)


def test_the_adapters_differ_in_what_their_frameworks_expect_only() -> None:
    ours = langchain_bge_cpu.BgeCpuRerank.model_fields
    theirs = llamaindex_bge_cpu.BgeCpuRerank.model_fields
    assert set(theirs) - set(ours) == {"callback_manager", "keep_retrieval_score", "metadata_mode"}
    assert set(ours) - set(theirs) == {"document_text"}
    both = set(ours) & set(theirs)
    assert {name for name in both if ours[name].default != theirs[name].default} == {"top_n"}
    keywords = inspect.signature(bge_cpu.Reranker.load).parameters
    assert {name: keyword.default for name, keyword in keywords.items()} == {
        name: ours[name].default for name in keywords
    }
    assert langchain_bge_cpu.__all__ == ["BgeCpuCrossEncoder", "BgeCpuRerank"]
    assert llamaindex_bge_cpu.__all__ == ["BgeCpuRerank"]


@pytest.mark.slow
def test_wheel_holds_the_packages_and_nothing_else(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.stat().st_size < 65_000_000
    assert "bge_cpu/mini/model.safetensors" in names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == set(PACKAGES)
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    lines = zipfile.ZipFile(wheel).read(metadata).decode().splitlines()
    urls = [line.partition(", ")[0] for line in lines if line.startswith("Project-URL: ")]
    assert urls == [f"Project-URL: {name}" for name in ("Documentation", "Source", "Changelog")]


@pytest.mark.slow
def test_the_sdist_holds_what_its_documents_link_to(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        files = {PurePosixPath(name).relative_to(sdist.name.removesuffix(".tar.gz")) for name in archive.getnames()}
    held = files | {folder for file in files for folder in file.parents}
    documents = [PurePosixPath(name) for name in ("README.md", "README.zh-CN.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    documents += [file for file in files if file.parts[0] == "docs" and file.suffix == ".md"]
    for document in documents:
        links = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", (ROOT / document).read_text(encoding="utf-8"))
        there = {PurePosixPath(os.path.normpath(document.parent / link)) for link in links}
        assert there <= held, f"{document} links to what the sdist lacks"
    assert {PurePosixPath(name) for name in (".ci/run", "Makefile", "deploy/Dockerfile")} <= files


def test_what_is_checked_before_a_commit_is_what_is_checked_after_it() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"entry: (.*)", hooks) == ["make lint"]
    assert "make lint\n" in (ROOT / ".ci/run").read_text(encoding="utf-8")


def test_the_map_of_the_house_names_every_room() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 100
    package = ROOT / "core/bge_cpu"
    rooms = {f"{file.parent.name}/" for file in package.glob("*/__init__.py")} | {"mini/"}
    rooms |= {file.stem for file in package.glob("*.py") if not file.stem.startswith("__")}
    outside = {"native/", "training/", "benchmarks/", "deploy/", "docs/", "examples/"} | {
        f"{name}/" for name in PACKAGES[1:]
    }
    assert {room for room in rooms | outside if f"`{room}`" not in text} == {"reranker"}
    assert "core/bge_cpu/reranker.py" in text
