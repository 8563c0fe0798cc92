"""Several processes: one that is killed is replaced, and stopping loses nothing that was accepted."""

import os
import signal
import socket
import threading
from pathlib import Path

import httpx
import psutil
import pytest
import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import Receive, Scope, Send

from bge_cpu.machine.cpu import available_cpus
from bge_cpu.service import metrics
from bge_cpu.service.metrics import Metrics
from bge_cpu.service.server import _Supervisor
from tests.service.serving import SECONDS, TRAP, Service, figure, long_documents, serving, wait

pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.skipif(available_cpus() < 2, reason="needs two CPUs")]

_NOT_ACCEPTED = (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError)
"""What a client sees that comes when the socket is being closed."""

BODY = {"query": TRAP[0], "documents": TRAP[1]}


class Load:
    """Clients that send requests, one after another, each over a new connection, until told to stop."""

    def __init__(self, service: Service, clients: int) -> None:
        self.statuses: list[int] = []
        self.failed: list[Exception] = []
        self.wrong = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(service.url,)) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _send(self, url: str) -> None:
        while not self._stop.is_set():
            try:
                answer = httpx.post(f"{url}/v2/rerank", json=BODY, timeout=SECONDS, trust_env=False)
            except httpx.TransportError as error:
                self.failed.append(error)
                continue
            self.statuses.append(answer.status_code)
            self.wrong += answer.json()["results"][0]["index"] != 1

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(SECONDS)


def test_a_killed_worker_is_replaced_and_stopping_loses_nothing() -> None:
    with serving("--model", "mini", "--processes", "2") as pair, pair.client() as client:
        wait(lambda: pair.log.count("Application startup complete") == 2)
        before = pair.workers()
        assert len(before) == 2
        load = Load(pair, clients=4)
        wait(lambda: len(load.statuses) > 8)
        os.kill(before[0], signal.SIGKILL)
        wait(lambda: pair.log.count("Application startup complete") == 3)
        answered = len(load.statuses)
        wait(lambda: len(load.statuses) > answered + 8)
        load.stop()
        after = pair.workers()
        assert len(after) == 2
        assert len(set(after) & set(before)) == 1
        assert set(load.statuses) == {200}
        assert load.wrong == 0
        assert len(load.failed) <= 4, load.failed  # in flight on that worker, at most one of each client
        assert figure(client, "bge_cpu_pairs_total") == 3 * len(load.statuses)
        assert figure(client, "bge_cpu_queue_requests") == 0  # what the dead one held is forgotten
        assert {f'pid="{process}"' in client.get("/metrics").text for process in after} == {True}
        load = Load(pair, clients=4)
        wait(lambda: len(load.statuses) > 8)
        assert pair.stop() == 0
        load.stop()
        assert set(load.statuses) == {200}
        assert load.wrong == 0
        assert all(isinstance(error, _NOT_ACCEPTED) for error in load.failed)


async def holding(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that holds two requests from its start."""
    assert scope["type"] == "lifespan"
    await receive()
    Metrics().queued_requests.inc(2)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


def test_what_a_worker_held_is_forgotten_even_if_it_dies_before_it_was_looked_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(metrics.DIRECTORY, str(tmp_path))
    monkeypatch.setattr("signal.signal", lambda *given: None)  # this process keeps its handlers
    held = MultiProcessCollector(CollectorRegistry())  # type: ignore[no-untyped-call]

    def requests() -> float:
        families = held.collect()  # type: ignore[no-untyped-call]
        return float(sum(one.value for family in families for one in family.samples if "requests" in one.name))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        supervisor = _Supervisor(uvicorn.Config(holding, workers=1, lifespan="on"), [listener])
        try:
            supervisor.init_processes()
            wait(lambda: requests() == 2)
            supervisor.processes[0].process.kill()
            supervisor.processes[0].join()
            supervisor.keep_subprocess_alive()
            wait(lambda: supervisor.processes[0].is_ready())
            assert requests() == 2  # of the one that came in its place
        finally:
            supervisor.terminate_all()
            supervisor.join_all()


def test_stopping_finishes_what_was_accepted() -> None:
    with serving("--model", "mini") as service:
        answers: list[httpx.Response] = []

        def send() -> None:
            with service.client() as client:
                answers.append(client.post("/v2/rerank", json={"query": "panda", "documents": long_documents(5)}))

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        with service.client() as client:
            wait(lambda: figure(client, "bge_cpu_queue_requests") == 4)
        assert service.stop() == 0
        for thread in threads:
            thread.join(SECONDS)
        assert [answer.status_code for answer in answers] == [200] * 4
        assert {len(answer.json()["results"]) for answer in answers} == {5}
        with pytest.raises(httpx.ConnectError):
            httpx.get(service.url, trust_env=False)


def test_workers_end_with_their_supervisor(tiny_xlmr: Path) -> None:
    with serving("--model", str(tiny_xlmr), "--mode", "onnx", "--processes", "2") as pair:
        wait(lambda: pair.log.count("Application startup complete") == 2)
        workers = pair.workers()
        assert len(workers) == 2
        pair.process.kill()
        pair.process.wait(SECONDS)
        wait(lambda: not any(map(psutil.pid_exists, workers)))


def test_workers_are_replaced_one_by_one_and_read_keys_anew(tiny_xlmr: Path, tmp_path: Path) -> None:
    file, keys = tmp_path / "keys", ["the-first-of-our-keys", "the-second-of-our-keys"]
    file.write_text(keys[0])
    options = ("--model", str(tiny_xlmr), "--mode", "onnx", "--processes", "2", "--api-keys-file", str(file))
    with serving(*options) as pair, pair.client() as client:

        def status(key: str) -> int:
            with pair.client(headers={"Authorization": f"Bearer {key}"}) as fresh:
                return fresh.get("/info").status_code

        assert [status(key) for key in keys] == [200, 401]
        before = pair.workers()
        file.write_text(keys[1])
        pair.process.send_signal(signal.SIGHUP)
        wait(lambda: client.get("/health").status_code == 200 and not set(pair.workers()) & set(before))
        assert [status(key) for key in keys] == [401, 200]
