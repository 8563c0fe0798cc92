"""`bge-cpu serve`: the resident service."""

import importlib
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from bge_cpu import extras
from bge_cpu.cli.options import LoadOptions, loads_a_model
from bge_cpu.errors import InputError
from bge_cpu.inputs import check_count
from bge_cpu.service.settings import Limits, Settings

_LIMITS = Limits()


class LogFormat(str, Enum):
    """How the log on stderr looks."""

    console = "console"
    json = "json"


@loads_a_model()
def serve(
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="The port; 0 takes a free one.")] = 8000,
    processes: Annotated[int, typer.Option("--processes", help="Worker processes; the CPUs are divided.")] = 1,
    max_queue_tokens: Annotated[
        int, typer.Option("--max-queue-tokens", help="Tokens accepted at once per process; beyond it: 429.")
    ] = _LIMITS.max_queue_tokens,
    max_documents: Annotated[int, typer.Option("--max-documents", help="Documents per request.")] = (
        _LIMITS.max_documents
    ),
    max_characters: Annotated[int, typer.Option("--max-characters", help="Characters per document.")] = (
        _LIMITS.max_characters
    ),
    max_body: Annotated[int, typer.Option("--max-body", help="Bytes per request body.")] = _LIMITS.max_body,
    timeout: Annotated[
        float, typer.Option("--timeout", help="Seconds per request at most; clients may ask for less.")
    ] = _LIMITS.timeout,
    api_keys_file: Annotated[
        Path | None, typer.Option("--api-keys-file", help="API keys, one a line; besides BGE_CPU_API_KEYS.")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Be reachable by others without API keys.")] = False,
    log_format: Annotated[LogFormat, typer.Option("--log-format", help="For people, or JSON.")] = LogFormat.console,
    log_texts: Annotated[bool, typer.Option("--log-texts", help="Log queries and documents, too.")] = False,
    *,
    options: LoadOptions,
) -> None:
    """Serve over HTTP, to clients of Cohere, Jina and text-embeddings-inference; health, metrics, a page to try it."""
    limits = Limits(
        max_queue_tokens=check_count(max_queue_tokens, "--max-queue-tokens"),
        max_documents=check_count(max_documents, "--max-documents"),
        max_characters=check_count(max_characters, "--max-characters"),
        max_body=check_count(max_body, "--max-body"),
        timeout=timeout,
    )
    if not 0 < timeout <= 86_400:
        raise InputError(f"--timeout is a number of seconds above 0, a day at most, not {timeout}")
    with extras.needed("service", "bge-cpu serve"):
        server = importlib.import_module("bge_cpu.service.server")
    settings = Settings(
        load=options.keywords(), limits=limits, keys_file=api_keys_file, log_texts=log_texts, processes=processes
    )
    server.serve(settings, host=host, port=port, log_format=log_format.value, insecure=insecure)
