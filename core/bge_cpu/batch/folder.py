"""OUT: the folder that a batch writes. Each file is written beside its place and renamed once it is whole and on disk.

manifest.json            what is run on what: written first
part-00000.jsonl ...     the results of each shard; once there, a shard is done
errors-00000.jsonl ...   its bad rows, where it has some; there before its results are
errors.jsonl             all bad rows: written when all shards are done
results.jsonl            all results: written last
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from bge_cpu.errors import BgeCpuError, InputError

_LOCK = ".lock"
_TEMPORARY = ".tmp"


class OutFolder:
    """A batch's folder.

    Args:
        path: Where it is or will be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def index(self) -> Path:
        """Where a TREC run's index is kept until all is done; a hash comes behind the name."""
        return self.path / ".index"

    @property
    def results(self) -> Path:
        """All results, once all is done."""
        return self.path / "results.jsonl"

    @property
    def all_errors(self) -> Path:
        """All bad rows, once all is done."""
        return self.path / "errors.jsonl"

    def part(self, shard: int) -> Path:
        """A shard's results."""
        return self.path / f"part-{shard:05d}.jsonl"

    def errors(self, shard: int) -> Path:
        """A shard's bad rows."""
        return self.path / f"errors-{shard:05d}.jsonl"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, keep other processes from writing into it, and clear what killed ones left half-written.

        Raises:
            BgeCpuError: It cannot be written, or another process is at work in it.
            InputError: It holds something else.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is no folder")
        try:
            with writing(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
                lock = FileLock(self.path / _LOCK, timeout=0)
                lock.acquire()
        except Timeout:
            raise BgeCpuError(f"another process is writing {self.path}") from None
        try:
            others = [file.name for file in self.path.iterdir() if not file.name.startswith(".")]
            if others and self.manifest() is None:
                raise InputError(f"{self.path} is not empty, and no batch's folder: it has no manifest.json")
            with writing(self.path):
                for leftover in self.path.glob(f".*{_TEMPORARY}"):
                    leftover.unlink()
            yield
        finally:
            lock.release()

    def manifest(self) -> dict[str, Any] | None:
        """What manifest.json says; None where there is none.

        Raises:
            InputError: It is damaged.
        """
        file = self.path / "manifest.json"
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise InputError(f"{file} cannot be read: {error}") from error
        if not isinstance(found, dict):
            raise InputError(f"{file} holds no JSON object")
        return found

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Write manifest.json."""
        with self._whole(self.path / "manifest.json") as stream:
            stream.write(json.dumps(manifest, ensure_ascii=False, indent=1).encode())

    def is_done(self, shard: int) -> bool:
        """Whether a shard's results are there."""
        return self.part(shard).is_file()

    def assemble(self, shards: int) -> None:
        """Write errors.jsonl and then results.jsonl, each from the shards' files, unless they are there."""
        errors = (self.errors(shard) for shard in range(shards) if self.errors(shard).is_file())
        for file, parts in ((self.all_errors, errors), (self.results, map(self.part, range(shards)))):
            if not file.is_file():
                with self._whole(file) as stream:
                    _join(parts, stream)
        with writing(self.path):
            for index in self.path.glob(f"{self.index.name}-*"):
                index.unlink()

    @contextlib.contextmanager
    def _whole(self, file: Path) -> Iterator[BinaryIO]:
        """Write a file; it gets its name once it is on disk."""
        temporary = temporary_name(file)
        try:
            with writing(self.path):
                with temporary.open("wb") as stream:
                    yield stream
                    sync(stream)
                self._publish(temporary, file)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def publish_shard(self, number: int, written: Mapping[str, str]) -> None:
        """Publish what `ShardFiles.close` told, here or in another process: the results last, with which it is done."""
        with writing(self.path):
            self.errors(number).unlink(missing_ok=True)  # of a start that was killed between the two
        for place in (self.errors(number), self.part(number)):
            if place.name in written:
                self._publish(self.path / written[place.name], place)

    def _publish(self, temporary: Path, file: Path) -> None:
        """Give a file that is on disk its name, for good."""
        with writing(self.path):
            temporary.rename(file)
            handle = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


class ShardFiles:
    """The results and errors of a shard while they are written, under names that nobody takes for whole.

    Args:
        folder: Whose shard it is.
        number: Which shard it is.
    """

    def __init__(self, folder: OutFolder, number: int) -> None:
        self._folder = folder
        self._places = folder.part(number), folder.errors(number)
        self._streams: dict[Path, BinaryIO] = {}
        self._stream(self._places[0])

    def add(self, line: bytes, *, bad: bool) -> None:
        """Add a row's line."""
        with writing(self._folder.path):
            self._stream(self._places[bad]).write(line)

    def close(self) -> dict[str, str]:
        """Have all of it on disk; the files' names to be, and those that they have until then."""
        with writing(self._folder.path):
            for stream in self._streams.values():
                sync(stream)
                stream.close()
        return {place.name: temporary_name(place).name for place in self._streams}

    def discard(self) -> None:
        """Remove what was written."""
        for place, stream in self._streams.items():
            with contextlib.suppress(OSError):  # a full disk, which closing meets once more
                stream.close()
            temporary_name(place).unlink(missing_ok=True)

    def _stream(self, place: Path) -> BinaryIO:
        if place not in self._streams:
            with writing(self._folder.path):
                self._streams[place] = temporary_name(place).open("wb")
        return self._streams[place]


def temporary_name(file: Path) -> Path:
    """Where this process writes a file before it is whole."""
    return file.with_name(f".{file.name}.{os.getpid()}{_TEMPORARY}")


def sync(stream: BinaryIO) -> None:
    """Have what was written on disk."""
    stream.flush()
    os.fsync(stream.fileno())


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Within the block, what the system refuses becomes an error that says what to do.

    Raises:
        BgeCpuError: The disk is full, the folder cannot be written, or the like.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, Timeout):
            raise
        raise BgeCpuError(
            f"{folder} cannot be written: {error.strerror or error}",
            hint="nothing half-written counts; the same command goes on from the shards that are done",
        ) from error


def _join(parts: Iterable[Path], stream: BinaryIO) -> None:
    for part in parts:
        with part.open("rb") as source:
            shutil.copyfileobj(source, stream, 1 << 20)
