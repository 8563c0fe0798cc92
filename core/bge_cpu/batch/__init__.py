"""Rerank whole files of rows, in shards: what is killed at any time goes on from the shards that are done.

`rerank` reads an input through, compares it with what the folder says of itself, has workers score the shards that are
not done, and joins all of them in the end. It never scores by itself: `Reranker.rank` does, row by row.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bge_cpu.batch.flow import How
from bge_cpu.batch.folder import OutFolder
from bge_cpu.batch.job import Job, Step, Workers
from bge_cpu.batch.local import Processes, ThisProcess
from bge_cpu.batch.manifest import check_same, describe
from bge_cpu.batch.sources import open_source
from bge_cpu.batch.sources.source import Source
from bge_cpu.checkpoint import open_checkpoint
from bge_cpu.engines import check_mode
from bge_cpu.errors import InputError
from bge_cpu.inputs import (
    DEFAULT_MIN_FIDELITY,
    DEFAULT_MODEL,
    check_count,
    check_long_documents,
    check_normalize,
    fit_max_length,
)

DEFAULT_SHARD_SIZE = 100
"""Rows; what is at most scored twice after a kill."""

_MOST_PROCESSES = 1024


@dataclass(frozen=True)
class Progress:
    """How far a batch is.

    Attributes:
        rows: Rows of the input.
        done: Rows that are done, good or bad, those of earlier starts included.
        pairs: Pairs that this start has scored.
        bad: Bad rows that this start has met.
        cut: Results of this start that stand for pairs cut to max_length.
        before: Rows that were done when this start began.
        empty: Lines without text that this start has passed over; known in the end.
    """

    rows: int
    done: int = 0
    pairs: int = 0
    bad: int = 0
    cut: int = 0
    before: int = 0
    empty: int = 0


def rerank(
    source: str | Path,
    out: str | Path,
    *,
    corpus: str | Path | None = None,
    queries: str | Path | None = None,
    model: str | Path = DEFAULT_MODEL,
    mode: str | None = None,
    max_length: int | None = None,
    threads: int | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
    cache_dir: str | Path | None = None,
    min_fidelity: float | None = DEFAULT_MIN_FIDELITY,
    top_n: int | None = None,
    normalize: str | None = "sigmoid",
    long_documents: str = "truncate",
    shard_size: int = DEFAULT_SHARD_SIZE,
    processes: int = 1,
    strict: bool = False,
    workers: Workers | None = None,
    tell: Callable[[Progress], None] | None = None,
) -> Progress:
    """Rerank all rows of a file into a folder; a second start with the same arguments goes on where the first ended.

    Args:
        source: JSON lines {"query", "documents", any further fields}, a Parquet file with these columns, or a TREC run.
        out: The folder: part-00000.jsonl and on, errors-00000.jsonl for bad rows, and in the end errors.jsonl and
            results.jsonl, one line {"row", "query", "results": [{"index", "score"}], ...} per good row, in input order.
        corpus: A TREC run's documents, as JSON lines with id (or _id), text, and perhaps title.
        queries: A TREC run's queries, as JSON lines with id (or _id) and text.
        model: As in `Reranker.load`, like all options up to `min_fidelity`.
        mode: The mode.
        max_length: Tokens per pair at most; None means 512, or less if the model takes less.
        threads: CPUs to use at most, of all processes together.
        revision: A Hub branch, tag or commit.
        local_files_only: Never call the Hub.
        cache_dir: Where INT8 artifacts are kept.
        min_fidelity: What an INT8 mode's gate asks for.
        top_n: How many results per row; None keeps all. As in `Reranker.rank`, like the two that follow.
        normalize: What scores mean.
        long_documents: What becomes of a document longer than max_length.
        shard_size: Rows per shard.
        processes: How many processes score, each with its share of the threads. Other than 1 is for machines where one
            process cannot use all cores.
        strict: End at the first bad row, instead of noting it among the errors.
        workers: What scores the shards, in the place of processes on this machine: `bge_cpu.ray.RayWorkers`.
        tell: Called with the progress, after every row.

    Raises:
        InputError: An argument is wrong, the folder holds another run, or, if `strict`, a row is bad.
        BgeCpuError: The input changed meanwhile, or the folder cannot be written, or the model cannot be loaded.
    """
    check_normalize(normalize)
    check_long_documents(long_documents)
    how = How(None if top_n is None else check_count(top_n, "top_n"), normalize, long_documents)
    check_count(shard_size, "shard_size")
    check_count(processes, "processes", most=_MOST_PROCESSES)
    checkpoint = open_checkpoint(model, revision=revision, local_files_only=local_files_only)
    mode = check_mode(mode or checkpoint.exported_mode)
    max_length = fit_max_length(max_length, checkpoint.max_length, checkpoint.name)
    folder = OutFolder(Path(out))
    with folder.locked():
        opened = open_source(
            Path(source),
            corpus=None if corpus is None else Path(corpus),
            queries=None if queries is None else Path(queries),
            shard_size=shard_size,
            index=folder.index,
        )
        asked = describe(opened, checkpoint, mode, max_length, how)
        found = folder.manifest()
        if found is not None:
            check_same(found, asked, str(out))
        else:
            folder.write_manifest(asked)
        load = {
            "model": str(model),
            "mode": mode,
            "max_length": max_length,
            "threads": threads,
            "revision": revision,
            "local_files_only": local_files_only,
            "cache_dir": cache_dir,
            "min_fidelity": min_fidelity,
        }
        job = Job(load, how, opened.kind, opened.file, folder.path)
        workers = workers or (ThisProcess() if processes == 1 else Processes(processes))
        return _run(opened, folder, job, workers, tell or (lambda progress: None), strict=strict)


def _run(
    source: Source,
    folder: OutFolder,
    job: Job,
    workers: Workers,
    tell: Callable[[Progress], None],
    *,
    strict: bool,
) -> Progress:
    """Have the shards scored that are not done, and join all of them."""
    done = [number for number in range(source.shard_count) if folder.is_done(number)]
    bad = next((number for number in done if strict and folder.errors(number).is_file()), None)
    if bad is not None:
        raise InputError(f"there are bad rows already: {folder.errors(bad)}", hint="leave out --strict to go on")
    before = sum(source.shard(number).rows for number in done)
    progress = Progress(source.rows, done=before, before=before)
    tell(progress)

    def step(made: Step) -> None:
        nonlocal progress
        if strict and made.first_bad is not None:
            number, reason = made.first_bad
            raise InputError(f"row {number} is bad: {reason}", hint="without --strict it goes into errors.jsonl")
        if made.shard is not None:
            source.check_unchanged()
            folder.publish_shard(made.shard, made.written)
        progress = Progress(
            source.rows,
            progress.done + made.rows,
            progress.pairs + made.pairs,
            progress.bad + made.bad,
            progress.cut + made.cut,
            before,
        )
        tell(progress)

    missing = sorted(set(range(source.shard_count)).difference(done))
    if missing:
        workers.run(job, map(source.shard, missing), step)
    source.check_unchanged()
    folder.assemble(source.shard_count)
    return replace(progress, done=source.rows, empty=source.rows - progress.done)
