"""The options of `Reranker.load` on the command line, once for all verbs."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from bge_cpu.checkpoint import open_checkpoint
from bge_cpu.engines import MODES
from bge_cpu.errors import InputError
from bge_cpu.inputs import DEFAULT_MIN_FIDELITY, DEFAULT_MODEL, check_share, fit_max_length
from bge_cpu.reranker import Reranker

Model = Annotated[str, typer.Option("--model", "-m", help="A Hub id, a checkpoint folder, or mini.")]
Mode = Annotated[
    str | None, typer.Option("--mode", help=f"{', '.join(MODES)}; default: the fastest here.", show_default=False)
]
MaxLength = Annotated[
    int | None,
    typer.Option(
        "--max-length",
        help="Tokens per pair at most; default: 512, or the model's limit if that is less.",
        show_default=False,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", help="CPUs to use at most; default: all it may, or OMP_NUM_THREADS.", show_default=False),
]
Revision = Annotated[str | None, typer.Option("--revision", help="Branch, tag or commit on the Hub.")]
LocalFilesOnly = Annotated[bool, typer.Option("--local-files-only", help="Never call the Hub.")]
CacheDir = Annotated[
    Path | None, typer.Option("--cache-dir", help="Where INT8 artifacts are kept; default: the user's cache.")
]
MinFidelity = Annotated[
    str, typer.Option("--min-fidelity", help="Least rank correlation of INT8 with float32, or none.")
]


@dataclass(frozen=True)
class LoadOptions:
    """What the user asked of `Reranker.load`, as the command line has it; the fields are its keywords."""

    model: Model = DEFAULT_MODEL
    mode: Mode = None
    max_length: MaxLength = None
    threads: Threads = None
    revision: Revision = None
    local_files_only: LocalFilesOnly = False
    cache_dir: CacheDir = None
    min_fidelity: MinFidelity = str(DEFAULT_MIN_FIDELITY)

    def least_fidelity(self) -> float | None:
        """The number, 0..1, that --min-fidelity names; None for "none".

        Raises:
            InputError: Neither a number from 0 to 1 nor "none".
        """
        if self.min_fidelity == "none":
            return None
        try:
            return check_share(float(self.min_fidelity), "--min-fidelity")
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"--min-fidelity is a number from 0 to 1 or none, not {self.min_fidelity!r}") from error

    def longest_pair(self) -> int:
        """The max_length that the model was loaded with, in tokens; the Hub is not called again."""
        checkpoint = open_checkpoint(self.model, revision=self.revision, local_files_only=True)
        return fit_max_length(self.max_length, checkpoint.max_length, checkpoint.name)

    def keywords(self) -> dict[str, Any]:
        """The keywords of `Reranker.load`."""
        return {name: getattr(self, name) for name in _NAMES} | {"min_fidelity": self.least_fidelity()}

    def load(self, **changes: Any) -> Reranker:
        """Load the reranker; `changes` take the place of what the user asked for."""
        return Reranker.load(**self.keywords() | changes)


_NAMES = tuple(LoadOptions.__dataclass_fields__)


def loads_a_model(*without: str, **defaults: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb the options of `Reranker.load`, which reach it together as its argument `options: LoadOptions`.

    Args:
        without: Options that the verb has in another form, or not at all.
        defaults: Other defaults than usual, for instance model="mini".
    """

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        fields = inspect.signature(LoadOptions).parameters
        shared = [
            field.replace(kind=inspect.Parameter.KEYWORD_ONLY, default=defaults.get(name, field.default))
            for name, field in fields.items()
            if name not in without
        ]

        @functools.wraps(verb)
        def wrapped(**given: Any) -> None:
            chosen = {field.name: given.pop(field.name) for field in shared}
            verb(**given, options=LoadOptions(**defaults | chosen))

        signature = inspect.signature(verb)
        own = [parameter for name, parameter in signature.parameters.items() if name != "options"]
        # typer reads a verb's options off its signature; the order is that of --help.
        parameters = [field.replace(kind=inspect.Parameter.KEYWORD_ONLY) for field in (*own, *shared)]
        wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return wrapped

    return decorate
