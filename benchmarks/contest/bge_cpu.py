"""Ours, in every mode."""

from bge_cpu import Reranker
from contest.child import Scorer


def build(name: str, checkpoint: str, source: None, out: str, texts: None) -> None:
    """Make an INT8 mode's artifact, as its first start would, into the folder `out`."""
    load(name, checkpoint, None, out)([("a query", "a document")])


def load(name: str, checkpoint: str, threads: int | None, built: str | None) -> Scorer:
    """Load a mode; if it is an INT8 one, its artifact is in the folder `built`."""
    return Reranker.load(checkpoint, mode=name, threads=threads, cache_dir=built, min_fidelity=None).score
