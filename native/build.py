"""Compile the kernels into one shared library, with nothing but the standard library.

`hatch_build.py` builds wheels with it, the Makefile the test builds: python native/build.py OUTPUT [--sanitize NAME]
[--emulated]. Flags are portable: every kernel file has those of its own instruction set, and no other file has any.
"""

import argparse
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAME = "_bge_kernels" + {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
COMMON = ("bert", "team", "serial", "dispatch")  # dispatch last: it wants to know which kernels compiled
_AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni", "-mavx2", "-mfma")
KERNELS: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {
        "avx512bf16": (*_AVX512, "-mavx512bf16"),
        "avx512vnni": _AVX512,
        "avxvnni": ("-mavxvnni", "-mavx2", "-mfma"),
        "avx2": ("-mavx2", "-mfma"),
    },
    "aarch64": {"neon": ("-march=armv8.2-a+dotprod",)},
}
FLAGS = ("-std=c11", "-O3", "-fPIC", "-ffp-contract=off", "-fvisibility=hidden", "-D_GNU_SOURCE", "-Wall", "-Wextra")
_ZIG_TARGETS = {"x86_64": "x86_64-linux-gnu.2.28", "aarch64": "aarch64-linux-gnu.2.28"}


class BuildError(Exception):
    """The library cannot be compiled here."""


def architecture() -> str:
    """The machine's: "x86_64", "aarch64" or whatever else it calls itself."""
    machine = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


def compiler() -> list[str] | None:
    """The first C compiler there is: $CC, cc, gcc or clang."""
    for command in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        words = shlex.split(command)
        if words and shutil.which(words[0]):
            return words
    return None


def zig() -> list[str] | None:
    """The command of ziglang's compiler, whose libraries run on Linux with glibc 2.28 or newer."""
    target = _ZIG_TARGETS.get(architecture()) if sys.platform == "linux" else None
    return [sys.executable, "-m", "ziglang", "cc", "-target", target] if target else None


def build(output: Path, command: Sequence[str], *, extra: Sequence[str] = (), emulated: bool = False) -> dict[str, str]:
    """Compile the library.

    Args:
        output: The file to write.
        command: The C compiler.
        extra: More flags, for compiling and linking.
        emulated: Compile x86 kernels for a machine that lacks their instructions, with SIMDe (for tests).

    Returns:
        Kernels that this compiler cannot compile, and what it said; the library is without them.

    Raises:
        BuildError: There are no kernels for this machine, or a file that must compile does not.
    """
    kernels = KERNELS.get(architecture())
    if kernels is None or sys.platform == "win32":
        raise BuildError(f"there are no kernels for {sys.platform} on {platform.machine()}")
    emulation = ("-DBGE_EMULATED",) if emulated else ()

    def flags(name: str) -> Sequence[str]:
        if emulated and name != "avx2":
            header = HERE.parent / "tests/native/emulated.h"
            return ("-mavx2", "-mfma", "-fopenmp-simd", "-std=gnu11", "-w", "-O2", "-include", str(header))
        return kernels[name]

    with tempfile.TemporaryDirectory(prefix="bge-kernels-") as folder:

        def compiled(name: str, own: Sequence[str]) -> str | None:
            source, target = HERE / f"{name}.c", Path(folder) / f"{name}.o"
            done = _run([*command, *FLAGS, *own, *extra, "-c", str(source), "-o", str(target)])
            return done if not target.exists() else None

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            said = {name: pool.submit(compiled, f"kernels_{name}", flags(name)) for name in kernels}
            left_out = {name: text for name, job in said.items() if (text := job.result()) is not None}
            without = [f"-DBGE_WITHOUT_{name.upper()}" for name in left_out]
            errors = list(pool.map(lambda name: compiled(name, (*without, *emulation)), COMMON))
        if len(left_out) == len(kernels):
            raise BuildError(f"no kernels compile with {shlex.join(command)}: {next(iter(left_out.values()))}")
        if error := next((error for error in errors if error is not None), None):
            raise BuildError(f"{shlex.join(command)} failed: {error}")
        linked = Path(folder) / output.name
        objects = sorted(str(file) for file in Path(folder).glob("*.o"))
        error = _run([*command, "-shared", *extra, "-o", str(linked), *objects, "-lm", "-lpthread"])
        if not linked.exists():
            raise BuildError(f"{shlex.join(command)} cannot link: {error}")
        output.parent.mkdir(parents=True, exist_ok=True)
        beside = output.with_name(
            f".{output.name}.{os.getpid()}"
        )  # moved into place: another process may have it mapped
        shutil.copy(linked, beside)
        beside.replace(output)
    return left_out


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return f"{done.stderr.strip()[-2000:] or 'no message'} (exit {done.returncode})"


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--sanitize", default="", help="for instance address,undefined")
    parser.add_argument("--emulated", action="store_true")
    arguments = parser.parse_args()
    command = compiler()
    if command is None:
        sys.exit("no C compiler")
    extra: tuple[str, ...] = ()
    if arguments.sanitize:
        extra = (
            f"-fsanitize={arguments.sanitize}",
            "-fno-sanitize-recover=all",
            "-fno-omit-frame-pointer",
            "-g",
            "-O2",
        )
    try:
        left_out = build(arguments.output, command, extra=extra, emulated=arguments.emulated)
    except BuildError as error:
        sys.exit(str(error))
    for name, said in left_out.items():
        sys.stderr.write(f"without {name}: {said}\n")


if __name__ == "__main__":
    _main()
