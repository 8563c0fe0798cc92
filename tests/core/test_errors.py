"""The family of errors, and whose line a warning names."""

from bge_cpu import BgeCpuError, InputError


def test_errors_are_of_one_family() -> None:
    assert issubclass(InputError, ValueError)
    assert issubclass(InputError, BgeCpuError)
