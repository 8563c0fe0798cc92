import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from bge_cpu.kernels.library import FILE, Kernels, Library
from tests.native.building import build


@functools.cache
def _library() -> Library | None:
    """The library that $BGE_KERNELS_LIBRARY names (make test-native), else the installed one, else one built here."""
    if named := os.environ.get("BGE_KERNELS_LIBRARY"):
        return Library(Path(named))
    if FILE.exists():
        return Library(FILE)
    command = build.compiler()
    if command is None or build.architecture() not in build.KERNELS:
        return None
    folder = tempfile.mkdtemp(prefix="bge-kernels-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    build.build(Path(folder) / build.NAME, command)
    return Library(Path(folder) / build.NAME)


@pytest.fixture(scope="session")
def library() -> Library:
    """The library under test."""
    found = _library()
    if found is None:
        pytest.skip("the native kernels are not installed, and there is no C compiler to build them with")
    return found


@pytest.fixture
def kernels(library: Library, name: str) -> Kernels:
    """Each kernel file that runs here, but the reference."""
    found = library.named(name)
    assert found is not None
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        found = _library()
        names = [kernels.name for kernels in found.kernels() if kernels.run_here and kernels.kind] if found else []
        metafunc.parametrize("name", names)
