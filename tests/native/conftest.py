import os
from pathlib import Path

import pytest

from bge_cpu.kernels.library import FILE, Library
from tests.native.building import build


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The library that $BGE_KERNELS_LIBRARY names (make test-native), else the installed one, else one built here."""
    if named := os.environ.get("BGE_KERNELS_LIBRARY"):
        return Library(Path(named))
    if FILE.exists():
        return Library(FILE)
    command = build.compiler()
    if command is None:
        pytest.skip("the native kernels are not installed, and there is no C compiler to build them with")
    file = tmp_path_factory.mktemp("kernels") / build.NAME
    build.build(file, command)
    return Library(file)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        names = [name for kernels in build.KERNELS.values() for name in kernels]
        metafunc.parametrize("name", names)
