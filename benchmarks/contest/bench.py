"""From a contender's name to its running process: environments, builds, and one checkpoint."""

import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from contest.contenders import BUILDS, CONTENDERS
from contest.environments import HERE, Environment, digest, here, make
from contest.processes import Child, call
from contest.works import calibration


class Bench:
    """Starts contenders on a checkpoint.

    Args:
        checkpoint: The folder.
        base: Where environments and builds are kept.
        threads: For every contender; None leaves each what it takes by itself.
        own: Whether each contender runs in an environment of its own; otherwise all run in this program's.
    """

    def __init__(self, checkpoint: Path, base: Path, *, threads: int | None, own: bool) -> None:
        self._checkpoint, self._base, self._threads = checkpoint.resolve(), base, threads
        self.environment: Callable[[str], Environment] = cache(
            (lambda name: make(name, base / "environments")) if own else (lambda name: here())
        )

    def prepare(self, name: str) -> None:
        """Make the environment of a contender, and what it runs.

        Raises:
            EnvironmentFailed: Its environment, or one in which something is built for it, cannot be made.
            ChildFailed: The build failed.
        """
        self.environment(CONTENDERS[name].environment)
        build = CONTENDERS[name].build
        if build:
            self.built(build)

    def start(self, name: str) -> Child:
        """A process that loads a contender."""
        contender = CONTENDERS[name]
        built = self.built(contender.build) if contender.build else None
        arguments = {"name": name, "checkpoint": str(self._checkpoint), "threads": self._threads, "built": built}
        return Child(self.environment(contender.environment).python, contender.module, "load", arguments)

    def built(self, name: str) -> str:
        """The folder of a build, made once for a checkpoint; it appears when it is whole."""
        build = BUILDS[name]
        files = sorted(file for file in self._checkpoint.iterdir() if file.is_file())
        stamp = repr([(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files])
        source = self.built(build.source) if build.source else None
        recipe = [(HERE / f"{build.module}.py").read_bytes(), (HERE / f"{build.environment}.txt").read_bytes()]
        folder = self._base / f"{name}-{digest(stamp.encode(), repr(source).encode(), *recipe)}"
        if not folder.is_dir():
            print(f"building {folder} ...", flush=True)
            with tempfile.TemporaryDirectory(dir=self._base) as part:
                whole = Path(part, "whole")
                whole.mkdir()
                arguments = {"name": name, "checkpoint": str(self._checkpoint), "source": source, "out": str(whole)}
                python = self.environment(build.environment).python
                call(python, build.module, "build", **arguments, texts=calibration())
                shutil.move(whole, folder)
        return str(folder)
