"""What the service was told to do; picklable, since each worker process gets a copy."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

AHEAD = "BGE_CPU_READ_AHEAD"
"""The variable that tells `ahead` which tokenizer to read."""


@dataclass(frozen=True)
class Limits:
    """What a request may ask for, and what a process takes on at once.

    Attributes:
        max_queue_tokens: Tokens of accepted requests that are not yet answered, per process.
        max_documents: Documents per request.
        max_characters: Characters per document, and of the query.
        max_body: Bytes per request body.
        timeout: Seconds from a request's first byte of body to its answer.
    """

    max_queue_tokens: int = 131_072
    max_documents: int = 1_000
    max_characters: int = 100_000
    max_body: int = 8 * 2**20
    timeout: float = 60.0


@dataclass(frozen=True)
class Settings:
    """All that a worker needs to start.

    Attributes:
        load: The keywords of `Reranker.load`.
        limits: What requests may ask for.
        keys_file: Where API keys are read from, besides the environment.
        log_texts: Whether queries and documents are logged.
        processes: How many workers there are.
    """

    load: dict[str, Any] = field(repr=False)
    limits: Limits = Limits()
    keys_file: Path | None = None
    log_texts: bool = False
    processes: int = 1
