"""The build hook: a wheel for every Python with the library in it, with and without a compiler, from an sdist too."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.native.building import build

pytest.importorskip("hatchling")
ROOT = Path(__file__).resolve().parents[2]
PARTS = ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "CHANGELOG.md", "Makefile", ".gitignore")
FOLDERS = ("native", "core", "langchain_bge_cpu", "llamaindex_bge_cpu", "tests/native")
LIBRARY = f"bge_cpu/kernels/{build.NAME}"

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="there is no C compiler")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project without what is large: the bundled model."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in PARTS:
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder)
    for name in FOLDERS:
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("mini", "__pycache__", "_bge_kernels.*")
        )
    return folder


def hatchling(folder: Path, target: str, **environment: str) -> tuple[Path, str]:
    """Build with hatchling alone: no network, no environment of its own. The artifact, and what was said."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder / "dist")]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (artifact,) = (folder / "dist").glob("*.whl" if target == "wheel" else "*.tar.gz")
    return artifact, done.stdout + done.stderr


def runs_from(wheel: Path, folder: Path) -> str:
    """What `available()` says once the wheel is unpacked."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    code = "from bge_cpu.kernels.library import available; found = available(); print(found.name if found else None)"
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_wheel_from_an_sdist_carries_the_library(project: Path, tmp_path: Path) -> None:
    sdist, _ = hatchling(project, "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    wheel, _ = hatchling(unpacked, "wheel")
    assert "-py3-none-" in wheel.name
    assert not wheel.name.endswith("-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert archive.getinfo(LIBRARY).file_size < 3_000_000
        assert not [name for name in archive.namelist() if name.endswith((".c", ".h", "hatch_build.py"))]
        assert {name.split("/")[0] for name in archive.namelist() if ".dist-info" not in name} == {
            "bge_cpu",
            "langchain_bge_cpu",
            "llamaindex_bge_cpu",
        }
    assert runs_from(wheel, tmp_path / "installed") != ""


def test_without_a_compiler_the_wheel_is_pure_and_says_so(project: Path, tmp_path: Path) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    wheel, said = hatchling(project, "wheel", PATH=str(empty), CC="")
    assert wheel.name.endswith("-py3-none-any.whl")
    assert "without the mode native-int8" in " ".join(said.split())
    assert runs_from(wheel, tmp_path / "installed") == "None"


def test_without_a_compiler_ziglang_is_asked_for(project: Path, tmp_path: Path) -> None:
    code = (
        "from hatchling.build import get_requires_for_build_wheel as wheel, get_requires_for_build_sdist as sdist;"
        "print(wheel(), sdist())"
    )
    said = {}
    for name, path in {"with": os.environ["PATH"], "without": str(tmp_path)}.items():
        environment = {**os.environ, "PATH": path, "CC": ""}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=project, env=environment, capture_output=True, text=True, check=True
        )
        said[name] = done.stdout.strip()
    assert said["with"] == "[] []"
    assert said["without"] == ("['ziglang>=0.13'] []" if build.zig() else "[] []")


def test_a_compiler_that_fails_leaves_a_pure_wheel(project: Path, tmp_path: Path) -> None:
    (project / "native" / "bert.c").write_text("this is not C\n")
    wheel, said = hatchling(project, "wheel")
    assert wheel.name.endswith("-py3-none-any.whl")
    assert "without the mode native-int8" in " ".join(said.split())


def test_an_old_compiler_leaves_kernels_out(project: Path, tmp_path: Path) -> None:
    (project / "native" / "kernels_avxvnni.c").write_text("this is not C\n")
    if build.architecture() != "x86_64":
        pytest.skip("x86 kernels")
    wheel, said = hatchling(project, "wheel")
    assert not wheel.name.endswith("-any.whl")
    assert "avxvnni" in said
    assert runs_from(wheel, tmp_path / "installed") != ""


@pytest.mark.skipif("BGE_TEST_ZIGLANG" not in os.environ, reason="downloads ziglang; set BGE_TEST_ZIGLANG to run it")
def test_ziglang_builds_a_wheel_for_any_linux(project: Path, tmp_path: Path) -> None:
    if build.zig() is None:
        pytest.skip("ziglang serves Linux only")
    environment = {**os.environ, "PATH": str(tmp_path), "CC": ""}
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(project)]
    subprocess.run(command, env=environment, check=True, timeout=900)
    (wheel,) = tmp_path.glob("*.whl")
    assert "manylinux_2_28" in wheel.name
    assert runs_from(wheel, tmp_path / "installed") != ""
