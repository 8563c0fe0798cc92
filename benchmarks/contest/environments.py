"""A virtual environment for each requirements file of this folder, made once and kept while the file is unchanged."""

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
SOURCES = ("core", "langchain_bge_cpu", "llamaindex_bge_cpu", "pyproject.toml")  # of bge-cpu


class EnvironmentFailed(Exception):
    """An environment cannot be made; the message says why."""


@dataclass(frozen=True)
class Environment:
    """What runs a contender.

    Attributes:
        python: Its interpreter.
        megabytes: What is installed, in 10^6 bytes, bytecode included; None for an environment that was there before.
        versions: Of all packages in it, by name.
    """

    python: Path
    megabytes: float | None
    versions: dict[str, str]


def here() -> Environment:
    """The environment that this program runs in."""
    return Environment(Path(sys.executable), None, versions(sys.path))


def make(name: str, base: Path) -> Environment:
    """The environment of a requirements file, made or completed if need be.

    Args:
        name: The file's, without its suffix.
        base: The folder that environments are kept in.

    Raises:
        EnvironmentFailed: venv or pip did not succeed.
    """
    requirements = (HERE / f"{name}.txt").read_text()
    folder = base / f"{name}-{digest(sys.version.encode(), requirements.encode())}"
    python, stamp = folder / "bin/python", folder / "installed"
    wanted = source_digest() if requirements.startswith(".") else "complete"
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing {name}.txt into {folder} ...", flush=True)
        if not python.exists():
            run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
        run([*pip, "--requirement", str(HERE / f"{name}.txt")])
        stamp.write_text(wanted)
    found = [file.lstat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]
    return Environment(python, sum(found) / 1e6, versions([str(path) for path in folder.glob("lib/*/site-packages")]))


def versions(path: list[str]) -> dict[str, str]:
    """Of the packages on a path."""
    return dict(sorted((found.name.lower(), found.version) for found in distributions(path=path)))


def source_digest() -> str:
    """Of the files that bge-cpu is installed from."""
    files = [file for name in SOURCES for file in [REPOSITORY / name, *(REPOSITORY / name).rglob("*")]]
    kept = sorted(file for file in files if file.is_file() and file.suffix != ".pyc")
    return digest(*(part for file in kept for part in (str(file).encode(), file.read_bytes())))


def digest(*parts: bytes) -> str:
    """A short name for what was hashed."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def run(command: list[str]) -> None:
    """Run venv or pip from the repository's folder, where the requirement `.` is bge-cpu."""
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode:
        raise EnvironmentFailed(last_line(done.stderr + done.stdout) or f"{command[2]} failed")


def last_line(text: str) -> str:
    """The last line of an output that is not empty."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
