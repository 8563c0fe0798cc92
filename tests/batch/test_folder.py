"""The folder that a batch writes: one writer, nothing half-written, and what it says of a disk that takes no more."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bge_cpu.batch import rerank
from bge_cpu.batch.folder import OutFolder, ShardFiles
from bge_cpu.errors import BgeCpuError, InputError
from tests.rows import read_lines, record, write_lines

# Files of this process end at argv[4] bytes, as on a disk that is full.
SMALL_DISK = """
import resource, signal, sys
from bge_cpu.batch import rerank
from bge_cpu.errors import BgeCpuError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
try:
    rerank(sys.argv[2], sys.argv[3], model=sys.argv[1], mode="onnx", shard_size=3)
except BgeCpuError as error:
    print(error)
"""


def test_a_shard_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = OutFolder(tmp_path / "out")
    with folder.locked():
        files = ShardFiles(folder, 7)
        files.add(b"good\n", bad=False)
        files.add(b"bad\n", bad=True)
        assert not list(folder.path.glob("*-0*.jsonl"))
        names = files.close()
        assert not list(folder.path.glob("*-0*.jsonl"))
        folder.publish_shard(7, names)
        assert (folder.part(7).read_bytes(), folder.errors(7).read_bytes()) == (b"good\n", b"bad\n")
        assert folder.is_done(7)
        ShardFiles(folder, 8).discard()
    assert sorted(file.name for file in folder.path.glob("*-0*.jsonl")) == ["errors-00007.jsonl", "part-00007.jsonl"]
    assert not list(folder.path.glob(".*.tmp"))


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    folder = OutFolder(tmp_path / "out")
    with folder.locked():
        script = "import sys; from bge_cpu.batch.folder import OutFolder; from pathlib import Path\n"
        script += "with OutFolder(Path(sys.argv[1])).locked(): pass"
        done = subprocess.run([sys.executable, "-c", script, str(folder.path)], capture_output=True, text=True)
        assert f"another process is writing {folder.path}" in done.stderr
    with folder.locked():
        pass


def test_another_folder_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with (
        pytest.raises(InputError, match=r"is not empty, and no batch's folder: it has no manifest\.json"),
        OutFolder(tmp_path).locked(),
    ):
        pass
    with pytest.raises(InputError, match="is no folder"), OutFolder(tmp_path / "letter.txt").locked():
        pass
    (tmp_path / "manifest.json").write_text('{"cut')
    with pytest.raises(InputError, match=r"manifest\.json cannot be read"), OutFolder(tmp_path).locked():
        pass


def test_a_full_disk_is_told_and_the_shards_that_fitted_stay(tmp_path: Path, tiny_xlmr: Path) -> None:
    sizes = [3, 3, 3, 3, 3, 3, 3, 100, 3]
    rows = write_lines(tmp_path / "in.jsonl", [record(number, size) for number, size in enumerate(sizes)])
    out = tmp_path / "out"
    command = [sys.executable, "-c", SMALL_DISK, str(tiny_xlmr), str(rows), str(out), "3000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith(f"{out} cannot be written: File too large"), done.stderr
    assert "the same command goes on from the shards that are done" in done.stdout
    assert sorted(file.name for file in out.glob("*.jsonl")) == ["part-00000.jsonl", "part-00001.jsonl"]
    assert not list(out.glob(".*.tmp"))
    rerank(rows, out, model=tiny_xlmr, mode="onnx", shard_size=3)
    assert len(read_lines(out / "results.jsonl")) == 9


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own, where the system lets us mount one."""
    place = tmp_path / "mounted"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_file_system(mounted: Path, tmp_path: Path, tiny_xlmr: Path) -> None:
    rows = write_lines(tmp_path / "in.jsonl", [record(number, 200) for number in range(9)])
    with pytest.raises(BgeCpuError, match="cannot be written: No space left on device"):
        rerank(rows, mounted / "out", model=tiny_xlmr, mode="onnx", shard_size=1)
    parts = sorted(file.name for file in (mounted / "out").glob("*.jsonl"))
    assert parts == [f"part-{number:05d}.jsonl" for number in range(len(parts))] != []
    assert not list((mounted / "out").glob(".*.tmp"))
    subprocess.run(["mount", "-o", "remount,size=4m", str(mounted)], check=True)
    done = rerank(rows, mounted / "out", model=tiny_xlmr, mode="onnx", shard_size=1)
    assert (done.before, done.done) == (len(parts), 9)
    assert len(read_lines(mounted / "out/results.jsonl")) == 9


def test_a_read_only_file_system(mounted: Path, tmp_path: Path, tiny_xlmr: Path) -> None:
    rows = write_lines(tmp_path / "in.jsonl", [record(0)])
    rerank(rows, mounted / "done", model=tiny_xlmr, mode="onnx")
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    for name in ("new", "done"):
        with pytest.raises(BgeCpuError, match="cannot be written: Read-only file system"):
            rerank(rows, mounted / name, model=tiny_xlmr, mode="onnx")
