"""`bge-cpu rank`: documents from arguments, a file or stdin, ranked."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from rich.console import Console

from bge_cpu.cli.options import LoadOptions, loads_a_model
from bge_cpu.display import table
from bge_cpu.errors import InputError
from bge_cpu.ranking import Ranking


class Normalize(str, Enum):
    """How `rank` maps logits to scores."""

    none = "none"
    sigmoid = "sigmoid"
    softmax = "softmax"


class LongDocuments(str, Enum):
    """What becomes of documents longer than max_length."""

    truncate = "truncate"
    windows = "windows"


@loads_a_model()
def rank(
    query: Annotated[str, typer.Argument(help="What is asked.")],
    documents: Annotated[
        list[str] | None, typer.Argument(help="The documents; without any, and without --file, stdin is read.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="One document per line; JSON lines with --field; - is stdin.")
    ] = None,
    field: Annotated[
        str | None, typer.Option("--field", help="Lines are JSON objects; the document is in this field.")
    ] = None,
    top_n: Annotated[
        int | None, typer.Option("--top-n", "-n", help="How many to show; default: all.", show_default=False)
    ] = None,
    normalize: Annotated[Normalize, typer.Option("--normalize", help="What scores mean.")] = Normalize.sigmoid,
    long_documents: Annotated[
        LongDocuments, typer.Option("--long-documents", help="Cut what is beyond max_length, or read it in windows.")
    ] = LongDocuments.truncate,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object instead of a table.")] = False,
    *,
    options: LoadOptions,
) -> None:
    """Rank documents by their relevance to a query: from arguments, a file or stdin."""
    texts = _documents(documents or [], file, field)
    reranker = options.load()
    how = None if normalize is Normalize.none else normalize.value
    ranking = reranker.rank(query, texts, top_n=top_n, normalize=how, long_documents=long_documents.value)
    if as_json:
        typer.echo(json.dumps({"query": query, "results": _results(ranking)}, ensure_ascii=False, indent=1))
    else:
        Console(highlight=False).print(table(ranking, rows=len(ranking)))


def _documents(arguments: list[str], file: Path | None, field: str | None) -> list[str]:
    """The documents, from the one place that was named."""
    if arguments:
        if file is not None or field is not None:
            raise InputError(
                "documents come as arguments or from a file, not both", hint="leave out --file and --field"
            )
        return arguments
    if file is None and (sys.stdin is None or sys.stdin.isatty()):
        raise InputError("no documents", hint='pass them as arguments: bge-cpu rank "query" "document" ..., or --file')
    if file is None or str(file) == "-":
        return list(_lines(sys.stdin.buffer, "stdin", field))
    try:
        with file.open("rb") as stream:
            return list(_lines(stream, str(file), field))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error


def _lines(stream: BinaryIO, name: str, field: str | None) -> Iterator[str]:
    """A document per line, or per JSON object that a line holds (blank lines are passed over then)."""
    for number, data in enumerate(stream, 1):
        try:
            line = data.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            if field is None:
                yield line
            elif line.strip():
                yield _field(json.loads(line), field)
        except UnicodeDecodeError as error:
            raise InputError(f"line {number} of {name} is not UTF-8: {error.reason}") from error
        except InputError as error:
            raise InputError(f"line {number} of {name}: {error.args[0]}") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"line {number} of {name} is not JSON: {error}") from error


def _field(record: Any, field: str) -> str:
    if not isinstance(record, dict) or not isinstance(record.get(field), str):
        held = f"an object with {', '.join(map(repr, record))}" if isinstance(record, dict) else type(record).__name__
        raise InputError(f"no text in a field {field!r}, but {held}")
    return str(record[field])


def _results(ranking: Ranking) -> list[dict[str, Any]]:
    return [{field: value for field, value in asdict(item).items() if value is not None} for item in ranking]
