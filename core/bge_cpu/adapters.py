"""What both adapters share: their options, the reranker behind them, and asynchronous calls that can be cancelled.

Both frameworks build on pydantic, so the options are a pydantic model; nothing else of either framework is known here.
"""

import asyncio
import contextvars
import importlib
import os
import pickle
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    field_serializer,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from bge_cpu import extras
from bge_cpu.engines import check_mode
from bge_cpu.errors import InputError, warn
from bge_cpu.inputs import DEFAULT_MIN_FIDELITY, DEFAULT_MODEL
from bge_cpu.ranking import Ranked
from bge_cpu.reranker import Reranker

if TYPE_CHECKING:
    from bge_cpu.remote import RemoteReranker

T = TypeVar("T")

Place = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, Path) else value)]
Count = Annotated[int, Field(ge=1, strict=True)]

CONFIG = ConfigDict(arbitrary_types_allowed=True, extra="forbid", validate_assignment=True, hide_input_in_errors=True)
"""For every class below and for the adapters, which else would take over their frameworks' laxer ways.

Errors do not repeat what came: it may be an API key. Messages of ours say what it was, where it may be said.
"""

_LOADING: dict[int, threading.Lock] = {}  # one per process: a fork copies a lock as it is, held by a thread left behind
_CALLING = ("api_key", "timeout", "max_retries")  # options that go with base_url
_CALLS_AT_ONCE = 8  # in flight on behalf of event loops; the engine shares its threads among them, the others queue


@dataclass
class _Loaded:
    """A reranker, the options that it was loaded with and the process that loaded it.

    Copies of an adapter share it, also where a forked process has loaded anew. A pickled adapter does not carry it.
    """

    options: dict[str, Any]
    reranker: Reranker
    process: int

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Loaded":
        return self


class RerankerOptions(BaseModel):
    """The keywords of `Reranker.load`, or in their place a loaded reranker, or the address of a running service.

    The reranker of the options is loaded when it is first needed, or at once with `preload=True`; and anew if an option
    has been changed since, or in a process that was forked since. Adapters of equal options are equal.
    """

    model_config = CONFIG

    model: Place = Field(
        default=DEFAULT_MODEL,
        description='A Hub id, a checkpoint folder, or "mini", the bundled checkpoint.',
    )
    mode: str | None = Field(
        default=None,
        description='"native-int8", "onnx-int8" or "onnx"; "fp32", "bf16" or "int8" with the extra torch. '
        "None: what an exported folder records, else the fastest that runs on this CPU.",
    )
    max_length: Count | None = Field(
        default=None,
        description="Tokens per pair at most, special tokens counted; None: the smaller of 512 and the model's limit.",
    )
    threads: Count | None = Field(default=None, description="CPUs to use at most; None: all that the process may.")
    revision: str | None = Field(default=None, description="A Hub branch, tag or commit.")
    local_files_only: bool = Field(default=False, description="Never call the Hub.")
    cache_dir: Place | None = Field(default=None, description="Where INT8 artifacts are kept; None: the user's cache.")
    min_fidelity: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=DEFAULT_MIN_FIDELITY,
        description="Least rank correlation of INT8 scores with float32's on the probe; None asks for none.",
    )
    preload: bool = Field(default=False, description="Load at once, not on first use.")
    reranker: SkipJsonSchema[Reranker] | None = Field(
        default=None, description="A loaded Reranker to share, in place of the options above."
    )
    base_url: str | None = Field(
        default=None,
        description='A running `bge-cpu serve`, as "http://127.0.0.1:8000", in place of the options above.',
    )
    api_key: SecretStr | None = Field(
        default=None, exclude=True, repr=False, description="For `base_url`; not shown, written down or pickled."
    )
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=60.0, description="With `base_url`: seconds that a call may take, tries and waits between included."
    )
    max_retries: Annotated[int, Field(ge=0, strict=True)] = Field(
        default=4, description="With `base_url`: how often a service that is busy (429, 503) is asked again."
    )
    _loaded: _Loaded | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _cover_key(cls, data: Any) -> Any:
        """Hide the key at once: an error holds what was given."""
        if isinstance(data, dict) and isinstance(data.get("api_key"), str):
            return data | {"api_key": SecretStr(data["api_key"])}
        return data

    @model_validator(mode="after")
    def _check_model(self) -> "RerankerOptions":
        if self.mode is not None:
            check_mode(self.mode)
        given = [name for name in _load_options() if getattr(self, name) != RerankerOptions.model_fields[name].default]
        if self.reranker is not None and given:
            raise InputError(
                f"reranker is loaded already, so {', '.join(given)} would change nothing: pass one or the other"
            )
        if self.base_url is None:
            given = [name for name in _CALLING if getattr(self, name) != RerankerOptions.model_fields[name].default]
            if given:
                raise InputError(f"{', '.join(given)} would change nothing: there is no base_url")
            return self
        given += [name for name in ("preload", "reranker") if getattr(self, name)]
        if given:
            raise InputError(
                f"the service at base_url has loaded its model, so {', '.join(given)} would change nothing: "
                "pass one or the other"
            )
        self.remote()  # its own checks
        return self

    def model_post_init(self, context: Any) -> None:
        """Load, if that is asked for."""
        super().model_post_init(context)
        if self.preload:
            self.loaded()

    def loaded(self) -> Reranker:
        """The reranker, loaded if need be; its errors are those of `Reranker.load`."""
        if self.reranker is not None:
            return self.reranker
        if self.base_url is not None:
            raise InputError("with base_url nothing is loaded here")
        options, process = {name: getattr(self, name) for name in _load_options()}, os.getpid()
        loaded = self._loaded
        if loaded is None or loaded.options != options or loaded.process != process:
            with _LOADING.setdefault(process, threading.Lock()):
                loaded = self._loaded  # another thread may have been faster
                if loaded is None or loaded.options != options:
                    loaded = self._loaded = _Loaded(options, Reranker.load(**options), process)
                elif loaded.process != process:
                    loaded.reranker, loaded.process = Reranker.load(**options), process
                    warn(f"this process was forked after {self.model} was loaded, so it was loaded again here")
        return loaded.reranker

    def remote(self) -> "RemoteReranker | None":
        """The service of `base_url`; None where there is none.

        Raises:
            MissingDependencyError: httpx is not installed.
            InputError: The address or the key is wrong.
        """
        if self.base_url is None:
            return None
        with extras.needed("client", "base_url"):
            module = importlib.import_module("bge_cpu.remote")
        key = None if self.api_key is None else self.api_key.get_secret_value()
        found: RemoteReranker = module.RemoteReranker(
            self.base_url, api_key=key, timeout=self.timeout, max_retries=self.max_retries
        )
        return found

    @property
    def model_name(self) -> str:
        """What is run, for traces; of a service its address."""
        if self.base_url is not None:
            return self.base_url
        return self.model if self.reranker is None else str(self.reranker.model)

    @property
    def mode_name(self) -> str | None:
        """The mode, for traces; None is the default, as in `Reranker.load`."""
        return self.mode if self.reranker is None else self.reranker.mode

    @field_serializer("reranker")
    def _refuse_reranker(self, reranker: Reranker | None) -> None:
        if reranker is not None:
            raise ValueError("a loaded reranker cannot be written down: give the adapter model and mode instead")

    def __getstate__(self) -> dict[Any, Any]:
        pickle.dumps(self.reranker)  # LlamaIndex's base would leave out what cannot be pickled, and go on
        state = super().__getstate__()
        private = state["__pydantic_private__"] or {}
        fields = state["__dict__"] | {"api_key": None}
        return state | {"__dict__": fields, "__pydantic_private__": private | {"_loaded": None}}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RerankerOptions):
            return NotImplemented
        return type(self) is type(other) and self._identity() == other._identity()

    def _identity(self) -> dict[str, Any]:
        fields = type(self).model_fields
        return {name: getattr(self, name) for name in fields if name == "api_key" or not fields[name].exclude}


class RankOptions(RerankerOptions):
    """How an adapter ranks, but for `top_n`, whose default is each framework's own."""

    normalize: Literal["sigmoid", "softmax"] | None = Field(
        default="sigmoid",
        description='Scores: "sigmoid" 0..1 each, "softmax" shares of all documents, None raw logits.',
    )
    score_threshold: float | None = Field(
        default=None, description="Leave out documents that score less; in the units of `normalize`."
    )
    long_documents: Literal["truncate", "windows"] = Field(
        default="truncate", description='Documents beyond max_length: cut, or read in overlapping "windows".'
    )

    @model_validator(mode="after")
    def _check_threshold(self) -> "RankOptions":
        if self.score_threshold is not None and self.normalize is not None and not 0 <= self.score_threshold <= 1:
            raise InputError(f"score_threshold is 0..1 with normalize={self.normalize!r}, not {self.score_threshold!r}")
        return self

    def ranked(
        self, query: str, documents: Sequence[str], top_n: int | None, cancelled: Callable[[], bool] | None = None
    ) -> list[Ranked]:
        """The `top_n` best documents that reach the threshold, best first.

        Its errors are those of `Reranker.rank`, or of `RemoteReranker.rank` with `base_url`.
        """
        how: dict[str, Any] = {"top_n": top_n, "normalize": self.normalize, "long_documents": self.long_documents}
        if remote := self.remote():
            return self._enough(remote.rank(query, documents, **how))
        return self._enough(self.loaded().rank(query, documents, **how, cancelled=cancelled))

    async def aranked(self, query: str, documents: Sequence[str], top_n: int | None) -> list[Ranked]:
        """As `ranked`; the event loop goes on meanwhile, and cancelling stops the scoring, or closes the request."""
        if remote := self.remote():
            how: dict[str, Any] = {"top_n": top_n, "normalize": self.normalize, "long_documents": self.long_documents}
            return self._enough(await remote.arank(query, documents, **how))
        return await in_thread(lambda cancelled: self.ranked(query, documents, top_n, cancelled))

    def _enough(self, ranking: Sequence[Ranked]) -> list[Ranked]:
        least = self.score_threshold
        return [item for item in ranking if least is None or item.score >= least]


def _load_options() -> list[str]:
    return [name for name in RerankerOptions.model_fields if name not in ("preload", "reranker", "base_url", *_CALLING)]


async def in_thread(call: Callable[[Callable[[], bool]], T]) -> T:
    """Run a blocking call in a thread of ours, in the caller's context, and await its result.

    Args:
        call: It is given a function that says whether the awaiting task was cancelled, and should end soon if so.
    """
    cancelled = threading.Event()
    context = contextvars.copy_context()
    loop = asyncio.get_running_loop()
    try:
        return await loop.run_in_executor(_executor(os.getpid()), context.run, call, cancelled.is_set)
    finally:
        cancelled.set()


@lru_cache(maxsize=1)
def _executor(process: int) -> ThreadPoolExecutor:
    """Threads that no one else's work waits for; a forked process gets its own."""
    return ThreadPoolExecutor(_CALLS_AT_ONCE, thread_name_prefix=f"bge-cpu-async-{process}")
