from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="needs the extra service")

from bge_cpu.errors import InputError
from bge_cpu.service.keys import VARIABLE, Keys, read_keys

OLD, NEW = "an-old-key-of-ours-0001", "a-new-key-of-ours-00002"


def test_without_keys_any_header_will_do() -> None:
    assert not Keys()
    assert Keys().accept(b"")
    assert Keys().accept(b"Bearer whatever")


@pytest.mark.parametrize("header", [f"Bearer {OLD}", f"bearer  {NEW}", OLD])
def test_each_key_is_accepted(header: str) -> None:
    assert Keys([OLD, NEW]).accept(header.encode())


@pytest.mark.parametrize("header", ["", "Bearer", f"Bearer {OLD}x", f"Bearer {OLD[:-1]}", f"Basic {OLD}", "\xff"])
def test_anything_else_is_not(header: str) -> None:
    assert not Keys([OLD, NEW]).accept(header.encode("latin-1"))


def test_keys_come_from_a_file_and_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# since March\n{OLD}\n\n")
    keys = read_keys(file, {VARIABLE: f" {NEW}, "})
    assert all(keys.accept(key.encode()) for key in (OLD, NEW))
    assert not read_keys(None, {})


@pytest.mark.parametrize("content", ["", "# none", "short", "a key with spaces in it", "schlüssel-schlüssel-schlüssel"])
def test_keys_that_protect_nothing_are_refused_and_not_shown(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_keys(file, {})
    assert not content or content not in str(error.value).replace(str(file), "")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: FileNotFoundError"):
        read_keys(tmp_path / "none", {})
