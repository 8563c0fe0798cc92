"""How long an event loop waits on account of the LangChain adapter.

    python benchmarks/event_loop.py CHECKPOINT

A heartbeat task sleeps for 10 ms again and again; what it sleeps longer is lateness. It runs while 50 calls of
`acompress_documents`, 20 documents each, are under way on one instance; and, as the baseline, while as many processes
as there are CPUs count in an endless loop, since on busy CPUs any task is late at times.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from langchain_core.documents import Document

from bge_cpu.evaluation import read
from langchain_bge_cpu import BgeCpuRerank

DATA = Path(__file__).resolve().parents[2] / "shared/data/eval/xquad_en"
CALLS, DOCUMENTS, BEAT = 50, 20, 0.01


async def lateness(during: Coroutine[Any, Any, Any]) -> list[float]:
    """How many milliseconds each beat of a heartbeat came late while a coroutine ran."""
    late: list[float] = []

    async def beat() -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(BEAT)
            late.append((time.perf_counter() - start - BEAT) * 1e3)

    heart = asyncio.create_task(beat())
    await during
    heart.cancel()
    return late


async def rerank(compressor: BgeCpuRerank, queries: list[str], documents: list[Document]) -> None:
    """All calls at once."""
    calls = [
        compressor.acompress_documents(documents[number : number + DOCUMENTS], queries[number])
        for number in range(CALLS)
    ]
    await asyncio.gather(*calls)


def show(what: str, late: list[float]) -> None:
    """Print the worst and the usual lateness."""
    late.sort()
    print(f"{what:32} {len(late):6,} beats; late by median {late[len(late) // 2]:5.1f} ms, ", end="")
    print(f"99 % {late[len(late) * 99 // 100]:5.1f} ms, at most {late[-1]:5.1f} ms")


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    options = parser.parse_args()
    found = read(DATA)
    documents, queries = [Document(text) for text in found.documents.values()], list(found.queries.values())
    compressor = BgeCpuRerank(model=options.checkpoint, min_fidelity=None, preload=True)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        show("busy CPUs, no adapter:", asyncio.run(lateness(asyncio.sleep(5))))
    finally:
        for process in busy:
            process.kill()
    show(f"{CALLS} calls of the adapter:", asyncio.run(lateness(rerank(compressor, queries, documents))))


if __name__ == "__main__":
    main()
