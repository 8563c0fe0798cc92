"""What `bge-cpu batch` promises, shown at full size: python benchmarks/batch.py PROOF [options]; each prints a table.

    killed    a run killed five times against an undisturbed one: bytes, finished shards, pairs scored twice, memory
    dry       --dry-run over a file of 2 GB and one of 20 MB: memory and time
    row       a row of 100,000 documents between short ones: memory

What scale.py beside it measures is speed. Rows are real passages where they lie in
../shared/data, else made up of words.
"""

import argparse
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

SHARED = Path(__file__).resolve().parents[2] / "shared/data/eval"
WORDS = ["passage", "query", "model", "answer", "score", "reads", "人工", "智能", "检索", "排序", "文档"]
FILES = ("results.jsonl", "errors.jsonl", "manifest.json")

# Reranks argv[1] into argv[2]; notes in argv[3] each row whose turn comes, and in argv[4] its memory after each shard.
NOTED = """
import os, sys
from bge_cpu import Reranker, batch
turns, memory = (os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT) for name in sys.argv[3:5])
rank, shard = Reranker.rank, batch.OutFolder.publish_shard
def noted(self, query, documents, **options):
    os.write(turns, (query.partition(" ")[0] + "\\n").encode())
    return rank(self, query, documents, **options)
def published(self, number, written):
    shard(self, number, written)
    pages = int(open("/proc/self/statm").read().split()[1])
    os.write(memory, f"{number} {pages * os.sysconf('SC_PAGE_SIZE')}\\n".encode())
Reranker.rank, batch.OutFolder.publish_shard = noted, published
batch.rerank(sys.argv[1], sys.argv[2], model=sys.argv[5], mode=sys.argv[6], top_n=10,
             shard_size=int(sys.argv[7]))
"""


def passages() -> list[str]:
    """Real passages, Chinese and English, or texts of words."""
    found = []
    for name in ("trec_dl19", "stard_zh", "xquad_zh"):
        file = SHARED / name / "corpus.jsonl.gz"
        if file.is_file():
            with gzip.open(file, "rt", encoding="utf-8") as stream:
                found += [str(json.loads(line)["text"]) for line in stream]
    chance = random.Random(0)
    return found or [" ".join(chance.choices(WORDS, k=chance.randint(20, 120))) for _ in range(2_000)]


def lines(rows: int, documents: int) -> Iterator[bytes]:
    """Rows as JSON lines; a query begins with its row's number."""
    texts, chance = passages(), random.Random(1)
    for number in range(rows):
        query = f"{number} {' '.join(chance.choices(WORDS, k=6))}"
        row = {"id": number, "query": query, "documents": chance.choices(texts, k=documents)}
        yield json.dumps(row, ensure_ascii=False).encode() + b"\n"


def write(file: Path, rows: int, documents: int = 50) -> Path:
    """A file of rows."""
    with file.open("wb") as stream:
        stream.writelines(lines(rows, documents))
    return file


def killed(options: argparse.Namespace, folder: Path) -> Table:
    """Kill a run at random, five times, and compare it with an undisturbed one."""
    source = write(folder / "in.jsonl", options.pairs // 50)
    rows, size = options.pairs // 50, options.shard_size
    shards = -(-rows // size)
    chance = random.Random(options.seed)

    def start(out: str, turns: str) -> "subprocess.Popen[bytes]":
        notes = [str(folder / name) for name in (out, turns, f"{out}.memory")]
        what = [options.model, options.mode, str(size)]
        return subprocess.Popen([sys.executable, "-c", NOTED, str(source), *notes, *what])

    if start("undisturbed", "undisturbed.turns").wait():
        raise SystemExit("the undisturbed run failed")
    done: dict[Path, tuple[int, int]] = {}
    touched = again = total = 0
    for attempt in range(options.kills + 1):
        process = start("out", f"{attempt}.turns")
        if attempt < options.kills:
            goal = len(done) + chance.randint(0, max(1, shards // (options.kills + 1)))
            while process.poll() is None and len(list((folder / "out").glob("part-*"))) < max(1, goal):
                time.sleep(0.02)
            time.sleep(chance.random() * 3)
            process.send_signal(signal.SIGKILL)
        process.wait()
        now = {file: _identity(file) for file in (folder / "out").glob("part-*")}
        touched += sum(now.get(file) != identity for file, identity in done.items())
        turns = [int(line) for line in (folder / f"{attempt}.turns").read_text().split()]
        again += sum(folder / "out" / f"part-{row // size:05d}.jsonl" in done for row in turns)
        total += len(turns)
        done = now
    same = all((folder / "out" / name).read_bytes() == (folder / "undisturbed" / name).read_bytes() for name in FILES)
    memory = [int(line.split()[1]) for line in (folder / "undisturbed.memory").read_text().splitlines()]
    spread = (max(memory) - memory[0]) / memory[0]
    return table(
        f"killed {options.kills} times: {options.pairs:,} pairs with {options.model} in {shards} shards",
        ("results, errors and manifest equal to the byte", "yes" if same else "NO"),
        ("finished shards touched (inode, mtime)", touched),
        ("rows of finished shards scored again", again),
        ("rows of shards at hand scored again", f"{total - rows} of {rows}"),
        ("memory after the first shard, the last", f"{memory[0] / 1e6:,.0f} MB, {memory[-1] / 1e6:,.0f} MB"),
        ("most above the first shard's", f"{spread:.1%}"),
    )


def _identity(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_ino, status.st_mtime_ns


def dry(options: argparse.Namespace, folder: Path) -> Table:
    """The memory of --dry-run over a small and a large file."""
    piece = b"".join(lines(200, 50))
    rows = []
    for size in (options.bytes // 100, options.bytes):
        source = folder / "in.jsonl"
        with source.open("wb") as stream:
            for _ in range(max(1, size // len(piece))):
                stream.write(piece)
        command = ["-c", "from bge_cpu.cli import main; main()", "batch", str(source), str(folder / "out"), "--dry-run"]
        seconds, memory = _watched([sys.executable, *command, "--model", options.model, "--mode", options.mode])
        rows.append((f"{source.stat().st_size / 1e6:,.0f} MB", f"{memory / 1e6:,.0f} MB in {seconds:,.0f} s"))
    return table("--dry-run: a file's size; the memory at its peak", *rows)


def row(options: argparse.Namespace, folder: Path) -> Table:
    """The memory that a row of very many documents takes."""
    rows = []
    for documents in (options.documents // 100, options.documents):
        source = folder / f"{documents}.jsonl"
        source.write_bytes(b"".join([*lines(2, 50), *lines(1, documents), *lines(2, 50)]))
        script = "import sys; from bge_cpu import batch; batch.rerank(*sys.argv[1:3], model=sys.argv[3], top_n=10)"
        command = [sys.executable, "-c", script, str(source), str(folder / f"out-{documents}"), options.model]
        seconds, memory = _watched(command)
        rows.append((f"{documents:,}", f"{memory / 1e6:,.0f} MB in {seconds:,.0f} s"))
    return table("a row's documents; the memory at its peak", *rows)


def _watched(command: list[str]) -> tuple[float, int]:
    """How long a command takes, and the most memory that it had, in bytes; not counting its children."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, code, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(code)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.perf_counter() - start, usage.ru_maxrss * 1024


def table(title: str, *rows: tuple[object, object]) -> Table:
    """Two columns."""
    made = Table(box=box.SIMPLE, title=title, show_header=False)
    for name, value in rows:
        made.add_row(str(name), str(value))
    return made


PROOFS: dict[str, Callable[[argparse.Namespace, Path], Table]] = {proof.__name__: proof for proof in (killed, dry, row)}


def main() -> None:
    """Run a proof in a folder that goes with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("proof", choices=PROOFS)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--mode", default="onnx-int8")
    parser.add_argument("--pairs", type=int, default=30_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bytes", type=int, default=2_000_000_000)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--shard-size", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bge-cpu-batch-") as temporary:
        Console(width=110).print(PROOFS[options.proof](options, Path(temporary)))


if __name__ == "__main__":
    main()
