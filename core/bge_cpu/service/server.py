"""Starts the service: one process, or several that uvicorn supervises behind one socket."""

import contextlib
import dataclasses
import ipaddress
import math
import multiprocessing
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from typing import Any

import uvicorn
import uvicorn._subprocess
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess

from bge_cpu.checkpoint import open_checkpoint
from bge_cpu.engines import thread_limit
from bge_cpu.errors import BgeCpuError, InputError
from bge_cpu.machine.cpu import available_cpus
from bge_cpu.service import logs, metrics
from bge_cpu.service.keys import VARIABLE, read_keys
from bge_cpu.service.patience import Patient
from bge_cpu.service.resident import Resident
from bge_cpu.service.settings import AHEAD, Settings

_KEEP_ALIVE_SECONDS = 75  # longer than clients keep idle connections, so that they never meet one that is closing
_HEADER_BYTES = 16_384
_WORKER_SECONDS = 60  # to answer the supervisor; loading a model may keep a worker busy


def serve(settings: Settings, *, host: str, port: int, log_format: str = "console", insecure: bool = False) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: What to do.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        log_format: "console" or "json".
        insecure: Listen on an address that others reach, without API keys.

    Raises:
        InputError: An option is wrong, or the address is not safe to listen on.
        BgeCpuError: The address is taken, or the service did not start; the log says why.
    """
    _check_address(host, safe=insecure or bool(read_keys(settings.keys_file, os.environ)))
    settings = _divided(settings)
    if settings.processes > 1:
        _fork_from_one(settings)
    with _listening(host, port) as listener, _figures(settings.processes):
        config = uvicorn.Config(
            Resident(settings),
            workers=settings.processes,
            loop="asyncio",
            http=Patient,
            ws="none",
            lifespan="on",
            log_config=logs.config(log_format),
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=math.ceil(settings.limits.timeout) + 2,
            timeout_worker_healthcheck=_WORKER_SECONDS,
            h11_max_incomplete_event_size=_HEADER_BYTES,
        )
        shown = f"[{host}]" if ":" in host else host
        told = "loading %s; then serving on http://%s:%d"
        logs.requests.info(told, settings.load["model"], shown, listener.getsockname()[1])
        run = _run_alone if settings.processes == 1 else _run_several
        if run(config, listener) == STARTUP_FAILURE:
            raise BgeCpuError("the service did not start", hint="the log above says why")


def _run_alone(config: uvicorn.Config, listener: socket.socket) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)  # uvicorn raises the signal again once all is done
    try:
        uvicorn.Server(config).run([listener])
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def _run_several(config: uvicorn.Config, listener: socket.socket) -> int:
    supervisor = _Supervisor(config, [listener])
    supervisor.run()
    failed = any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes)
    return STARTUP_FAILURE if failed else 0


def _fork_from_one(settings: Settings) -> None:
    """Have workers forked from a process that has imported `ahead`, where uvicorn would begin each of them empty.

    Raises:
        CheckpointError: There is no such model.
    """
    load = settings.load
    checkpoint = open_checkpoint(load["model"], revision=load["revision"], local_files_only=load["local_files_only"])
    if "forkserver" in multiprocessing.get_all_start_methods():  # not on Windows
        os.environ[AHEAD] = str(checkpoint.tokenizer)
        forks = multiprocessing.get_context("forkserver")
        forks.set_forkserver_preload(["bge_cpu.service.ahead"])
        uvicorn._subprocess.spawn = forks  # type: ignore[assignment]  # where uvicorn keeps its own


def _leave(number: int, frame: Any) -> None:
    raise SystemExit(0)


class _Supervisor(Multiprocess):
    """uvicorn's, but quick to notice that a worker is gone, and it stops listening itself.

    On SIGHUP it replaces the workers one by one, each new one ready before an old one goes; they read API keys anew.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self._seen: set[int] = set()  # the workers that there were when they were last looked after

    def init_processes(self) -> None:
        """Start the workers."""
        super().init_processes()
        self._let_go()

    def _let_go(self) -> None:
        """Close this process's copies of the workers' ends, else a dead worker looks like one that is busy."""
        for process in self.processes:
            process.child_conn.close()

    def terminate_all(self) -> None:
        """Stop listening, so that clients are turned away at once and not kept waiting, and tell the workers."""
        super().terminate_all()
        for listener in self.sockets:
            listener.close()

    def keep_subprocess_alive(self) -> None:
        """Replace workers that died, and forget what those held that are no more."""
        known = self._seen | self._workers()  # a worker may die before it was looked after once
        super().keep_subprocess_alive()
        self._let_go()
        self._seen = self._workers()
        for gone in known - self._seen:
            metrics.forget(gone)

    def _workers(self) -> set[int]:
        return {process.pid for process in self.processes if process.pid is not None}


def _divided(settings: Settings) -> Settings:
    """The settings of each process: as they were given, but with its share of the CPUs.

    Raises:
        InputError: More processes than CPUs.
    """
    cpus = thread_limit(settings.load["threads"]) or available_cpus()
    if not 1 <= settings.processes <= cpus:
        raise InputError(
            f"--processes is from 1 to {cpus}, the CPUs that may be used, not {settings.processes}",
            hint="more would only compete; one process uses all CPUs",
        )
    return dataclasses.replace(settings, load=settings.load | {"threads": cpus // settings.processes})


def _check_address(host: str, *, safe: bool) -> None:
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise InputError(f"--host is an IP address or localhost, not {host!r}") from None
    if not local and not safe:
        raise InputError(
            f"{host} can be reached by others, and there is no API key",
            hint=f"--api-keys-file FILE, or {VARIABLE}=..., or --insecure where something else keeps others out",
        )


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise BgeCpuError(f"cannot listen on {host} port {port}: {error}") from error
    with listener:
        yield listener


@contextlib.contextmanager
def _figures(processes: int) -> Iterator[None]:
    """A folder for the figures of several processes; one alone needs none."""
    os.environ.pop(metrics.DIRECTORY, None)
    if processes == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="bge-cpu-metrics-") as folder:
        os.environ[metrics.DIRECTORY] = folder
        yield
