"""What each process runs: it loads the model, then serves; it does not listen before it is ready."""

import asyncio
import contextlib
import multiprocessing
import os
import platform
import signal
import sys
import warnings
from importlib import metadata
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from bge_cpu.checkpoint import open_checkpoint
from bge_cpu.errors import BgeCpuError
from bge_cpu.reranker import Reranker
from bge_cpu.service import logs
from bge_cpu.service.app import create
from bge_cpu.service.guard import Guard
from bge_cpu.service.keys import read_keys
from bge_cpu.service.metrics import Metrics
from bge_cpu.service.queue import REQUESTS, Queue
from bge_cpu.service.settings import Settings
from bge_cpu.service.work import Work

_PARENT_SECONDS = 2.0
_SWITCH_SECONDS = 0.001  # a fifth of Python's: the event loop answers soon, however many threads have work to do


class Resident:
    """The ASGI application of a worker. It is picklable until it is started.

    Args:
        settings: What it was told to do.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app: ASGIApp | None = None
        self._work: Work | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start and stop with the server, and pass requests on."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http" and self._app is not None:
            await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self._app = await asyncio.get_running_loop().run_in_executor(None, self._load)
        except (BgeCpuError, OSError) as error:
            await send({"type": "lifespan.startup.failed", "message": f"error: {error}"})
            return
        watching = asyncio.create_task(_end_with(multiprocessing.parent_process()))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        if self._work is not None:
            self._work.close()
        await send({"type": "lifespan.shutdown.complete"})

    def _load(self) -> ASGIApp:
        """Load the model and put the application together; run a pair, so that the first request finds all warm."""
        settings = self._settings
        sys.setswitchinterval(_SWITCH_SECONDS)
        warnings.simplefilter("ignore", UserWarning)  # truncation is told to the client, and counted
        keys = read_keys(settings.keys_file, os.environ)
        reranker = Reranker.load(**settings.load)
        reranker.score([("warm", "up")])
        asked = "asks for an API key" if keys else "asks for no API key"
        logs.requests.info("loaded, in mode %s; %s", reranker.mode, asked)
        metrics, queue = Metrics(), Queue(settings.limits.max_queue_tokens)
        metrics.measure_memory()
        self._work = Work(reranker, queue, metrics)
        app = create(
            self._work,
            queue,
            metrics,
            limits=settings.limits,
            info=_info(settings, reranker),
            log_texts=settings.log_texts,
        )
        return Guard(
            app,
            endpoints=[str(getattr(route, "path", "")) for route in app.routes],
            keys=keys,
            queue=queue,
            limits=settings.limits,
            metrics=metrics,
            log_texts=settings.log_texts,
        )


def _info(settings: Settings, reranker: Reranker) -> dict[str, Any]:
    load, limits = settings.load, settings.limits
    checkpoint = open_checkpoint(load["model"], revision=load["revision"], local_files_only=True)
    here = Path(load["model"]).exists()  # a folder's path is nothing that clients need to know
    return {
        "model": checkpoint.folder.resolve().name if here else checkpoint.name,
        "mode": reranker.mode,
        "revision": checkpoint.commit,
        "max_length": reranker.tokenizer.max_length,
        "processes": settings.processes,
        "threads": load["threads"],
        "versions": {name: metadata.version(name) for name in ("bge-cpu", "onnxruntime", "tokenizers", "fastapi")}
        | {"python": platform.python_version()},
        "limits": {
            "queue_tokens": limits.max_queue_tokens,
            "queue_requests": REQUESTS,
            "documents": limits.max_documents,
            "characters": limits.max_characters,
            "body_bytes": limits.max_body,
            "seconds": limits.timeout,
        },
    }


async def _end_with(parent: BaseProcess | None) -> None:
    """End when the process that supervises this one is gone, however it went."""
    while parent is not None:
        await asyncio.sleep(_PARENT_SECONDS)
        if not parent.is_alive():
            os.kill(os.getpid(), signal.SIGTERM)
            return
