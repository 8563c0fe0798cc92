"""A batch's shards on actors: the bytes of a local run, also when an actor is killed."""

import os
import signal
from pathlib import Path

import pytest

from bge_cpu.batch import Progress, rerank
from bge_cpu.errors import BgeCpuError, InputError
from tests.rows import record, write_lines

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'bge-cpu[ray]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("cluster"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Ray itself
]
WHOLE = ("results.jsonl", "errors.jsonl", "manifest.json")


def actor_processes() -> list[int]:
    """The processes of this cluster's actors that score shards; other clusters on the machine are not ours."""
    session = ray._private.worker._global_node.get_session_dir_path()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            ours = session.encode() in Path("/proc", parent, "cmdline").read_bytes()
            if ours and (folder / "cmdline").read_bytes().startswith(b"ray::ShardActor"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_the_same_bytes_also_when_an_actor_is_killed(tmp_path: Path, tiny_xlmr: Path) -> None:
    from bge_cpu.ray import RayWorkers

    rows = write_lines(tmp_path / "in.jsonl", [record(n) if n % 9 else b'{"broken' for n in range(40)])
    rerank(rows, tmp_path / "local", model=tiny_xlmr, mode="onnx", shard_size=3)
    killed: list[int] = []

    def tell(progress: Progress) -> None:
        if progress.done > 6 and not killed:
            killed.extend(actor_processes()[:1])
            os.kill(killed[0], signal.SIGKILL)

    options = {"model": tiny_xlmr, "mode": "onnx", "shard_size": 3}
    done = rerank(rows, tmp_path / "ray", **options, workers=RayWorkers(actors=2), tell=tell)  # type: ignore[arg-type]
    assert len(killed) == 1
    assert (done.rows, done.done, done.bad, done.pairs) == (40, 40, 5, 105)
    for name in WHOLE:
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
    assert ray.is_initialized()  # a connection that was there stays


def test_what_goes_wrong_on_the_cluster_is_told_here(tmp_path: Path, tiny_xlmr: Path) -> None:
    from bge_cpu.ray import RayWorkers

    rows = write_lines(tmp_path / "in.jsonl", [record(0), b"{"])
    with pytest.raises(InputError, match="row 1 is bad: not JSON"):
        rerank(rows, tmp_path / "out", model=tiny_xlmr, mode="onnx", strict=True, workers=RayWorkers(actors=1))
    with pytest.raises(BgeCpuError, match="has room for 0 actors with 64 CPUs each, not for 1"):
        rerank(rows, tmp_path / "out", model=tiny_xlmr, mode="onnx", threads=64, workers=RayWorkers())
