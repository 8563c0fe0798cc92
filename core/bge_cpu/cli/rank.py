"""`bge-cpu rank`: documents from arguments, a file or stdin, ranked."""

import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from rich.console import Console

from bge_cpu.cli.options import LoadOptions, loads_a_model
from bge_cpu.cli.output import JsonFile, check_outputs, on_stdout, tell_empty_lines, write_json
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


@dataclass(frozen=True)
class _Documents:
    """What is ranked; `records` are the JSON objects that the texts stood in, if they did."""

    texts: list[str]
    records: list[dict[str, Any]] | None = None


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
        str | None,
        typer.Option("--field", help="Lines are JSON objects; the document is in this field. --json keeps the rest."),
    ] = None,
    top_n: Annotated[
        int | None, typer.Option("--top-n", "-n", help="How many to show; default: all.", show_default=False)
    ] = None,
    normalize: Annotated[Normalize, typer.Option("--normalize", help="What scores mean.")] = Normalize.sigmoid,
    long_documents: Annotated[
        LongDocuments, typer.Option("--long-documents", help="Cut what is beyond max_length, or read it in windows.")
    ] = LongDocuments.truncate,
    json_file: JsonFile = None,
    *,
    options: LoadOptions,
) -> None:
    """Rank documents by their relevance to a query: from arguments, a file or stdin."""
    check_outputs(json_file)
    given = _documents(documents or [], file, field)
    reranker = options.load()
    how = None if normalize is Normalize.none else normalize.value
    ranking = reranker.rank(query, given.texts, top_n=top_n, normalize=how, long_documents=long_documents.value)
    write_json({"query": query, "results": _results(ranking, given.records)}, json_file)
    if not on_stdout(json_file):
        console = Console(highlight=False)
        console.print(table(ranking, width=console.width, rows=len(ranking)))


def _documents(arguments: list[str], file: Path | None, field: str | None) -> _Documents:
    """The documents, from the one place that was named."""
    if arguments:
        if file is not None or field is not None:
            raise InputError(
                "documents come as arguments or from a file, not both", hint="leave out --file and --field"
            )
        if len(arguments) == 1 and _is_file(arguments[0]):
            raise InputError(
                f"{arguments[0]} is a file, and an argument is a document's text",
                hint=f"read documents from it with: --file {shlex.quote(arguments[0])}",
            )
        return _Documents(arguments)
    if file is None and (sys.stdin is None or sys.stdin.isatty()):
        raise InputError("no documents", hint='pass them as arguments: bge-cpu rank "query" "document" ..., or --file')
    if file is None or str(file) == "-":
        return _texts(sys.stdin.buffer, "stdin", field)
    try:
        with file.open("rb") as stream:
            return _texts(stream, str(file), field)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error


def _is_file(argument: str) -> bool:
    """Whether a text is the path of a file; never an error, however long it is."""
    try:
        return Path(argument).is_file()
    except (OSError, ValueError):
        return False


def _texts(stream: BinaryIO, name: str, field: str | None) -> _Documents:
    """A document per line, or per JSON object that a line holds; lines without text are counted aloud."""
    texts: list[str] = []
    records: list[dict[str, Any]] = []
    empty = 0
    for number, line in enumerate(_lines(stream, name), 1):
        if not line.strip():
            empty += 1
        elif field is None:
            if not texts:
                _check_plain(line, name)
            texts.append(line)
        else:
            records.append(_record(line, field, f"line {number} of {name}"))
            texts.append(records[-1][field])
    tell_empty_lines(empty)
    return _Documents(texts, None if field is None else records)


def _lines(stream: BinaryIO, name: str) -> Iterator[str]:
    """The lines, without their ends."""
    for number, data in enumerate(stream, 1):
        try:
            yield data.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InputError(f"line {number} of {name} is not UTF-8: {error.reason}") from error


def _check_plain(first: str, name: str) -> None:
    """Refuse JSON lines, by the file's name or its first line, where their field was not named."""
    try:
        record = json.loads(first)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) and not name.endswith(".jsonl"):
        return
    texts = [key for key, value in record.items() if isinstance(value, str)] if isinstance(record, dict) else []
    raise InputError(
        f"{name} holds JSON lines, and --field does not say where in them the document is",
        hint=f"name its field: {' or '.join(f'--field {shlex.quote(key)}' for key in texts[:3]) or '--field text'}",
    )


def _record(line: str, field: str, where: str) -> dict[str, Any]:
    """The object that a line holds, with a text in its field."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON: {error}") from error
    if not isinstance(record, dict) or not isinstance(record.get(field), str):
        held = f"an object with {', '.join(map(repr, record))}" if isinstance(record, dict) else type(record).__name__
        raise InputError(f"{where}: no text in a field {field!r}, but {held}")
    return record


def _results(ranking: Ranking, records: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Per document what `Ranked` says of it, and the object that it stood in."""
    results = [{name: value for name, value in asdict(item).items() if value is not None} for item in ranking]
    if records is not None:
        for result in results:
            result["record"] = records[result["index"]]
    return results
