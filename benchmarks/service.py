"""How the resident service bears load, on this machine alone: what the issue asks of it, in one table.

    python benchmarks/service.py [--checkpoint FOLDER] [--quick]

Real processes with `mini` on 127.0.0.1 and documents of about 30 tokens. The clients run here, on the same CPUs as the
service, over kept connections. With --checkpoint, also what one and two processes take of memory with that model (PSS)
and how soon a warm start is ready. Leave the machine alone meanwhile. --quick sends a fifth, to see that it runs.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from bge_cpu import Reranker

TEXT = (
    "the giant panda is a bear species endemic to china; retrieval recalls documents by similarity of embeddings and "
    "falls for keyword traps; a cross encoder reads query and document together; prices rose in spring, rains fell "
    "糖尿病足 患者 应 注意 清洁 避免 感染 定期 检查 皮肤 破损"
)
WORDS = TEXT.split()
CLIENTS, REQUESTS = 64, 50
RNG = random.Random(19)


def document() -> str:
    """About 30 tokens with the query."""
    return " ".join(RNG.choices(WORDS, k=18))


def request(documents: int) -> dict[str, Any]:
    """The body of a request."""
    return {"query": " ".join(RNG.choices(WORDS, k=5)), "documents": [document() for _ in range(documents)]}


class Service:
    """A running `bge-cpu serve`."""

    def __init__(self, log: Path, *options: str) -> None:
        command = [sys.executable, "-c", "from bge_cpu.cli import main; main()", "serve", "--port", "0", *options]
        self._log = log
        started = time.perf_counter()
        with log.open("w") as stream:
            self.process = subprocess.Popen(command, stderr=stream)
        while (found := re.search(r"serving on http://127.0.0.1:(\d+)", log.read_text())) is None:
            self._check()
        self.port = int(found[1])
        while not self._ready():
            self._check()
        self.seconds_to_ready = time.perf_counter() - started

    def _check(self) -> None:
        if self.process.poll() is not None:
            raise SystemExit(f"the service ended:\n{self._log.read_text()}")
        time.sleep(0.02)

    def _ready(self) -> bool:
        try:
            return bool(urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready", timeout=60).status == 200)
        except OSError:
            return False

    def started(self) -> int:
        """How many workers have ever become ready."""
        return self._log.read_text().count("Application startup complete")

    def family(self) -> list[psutil.Process]:
        """Its processes: one, or the supervisor and its workers."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def memory(self, kind: str = "rss") -> float:
        """Megabytes of all its processes."""
        return float(sum(getattr(process.memory_full_info(), kind) for process in self.family())) / 1e6

    def cpu_seconds(self) -> float:
        """CPU time of all its processes."""
        return float(sum(sum(process.cpu_times()[:2]) for process in self.family()))


@contextmanager
def serving(*options: str, model: str = "mini") -> Iterator[Service]:
    """A service that is ready."""
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        service = Service(Path(log.name), "--model", model, *options)
        try:
            yield service
        finally:
            service.process.send_signal(signal.SIGTERM)
            service.process.wait(120)


@dataclass
class Answer:
    """What came back, and after how long."""

    status: int
    seconds: float
    content: Any = field(repr=False, default=None)


class Connection:
    """A client that keeps its connection; a minimum of HTTP, so that little of what is measured is its own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes) -> Answer:
        """Rank. Status 0: the connection failed."""
        return await self._send(b"POST /v2/rerank", body)

    async def get(self, path: str) -> Answer:
        """Ask one of the other endpoints."""
        return await self._send(f"GET {path}".encode(), b"")

    async def _send(self, start: bytes, body: bytes) -> Answer:
        begun = time.perf_counter()
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            head = b" HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            writer.write(start + head + body)
            headers = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = re.search(rb"content-length: (\d+)", headers)
            content = await reader.readexactly(int(length[1]) if length else 0)
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return Answer(0, time.perf_counter() - begun)
        return Answer(int(headers.split()[1]), time.perf_counter() - begun, content)

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def percentile(seconds: list[float], share: float) -> float:
    """In milliseconds."""
    return 1e3 * sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))]


def right(answer: Answer, expected: list[tuple[int, float]]) -> bool:
    """Whether an answer holds the library's indices and scores, to the bit."""
    results = json.loads(answer.content)["results"]
    return [(result["index"], result["relevance_score"]) for result in results] == expected


class Rows:
    """The table."""

    def __init__(self) -> None:
        self._table = Table(box=None, pad_edge=False)
        for column in ("what", "measured", "asked for"):
            self._table.add_column(column)

    def add(self, what: str, measured: str, asked: str = "") -> None:
        """A row; also shown at once."""
        self._table.add_row(what, measured, asked)
        print(f"{what}: {measured}", file=sys.stderr, flush=True)

    def show(self) -> None:
        """Print it."""
        Console(highlight=False, width=140).print(self._table)


async def many_clients(rows: Rows, service: Service, each: int) -> float:
    """64 clients at once; returns the documents per second that the service bears."""
    reranker = Reranker.load("mini")
    bodies = [request(RNG.randint(5, 20)) for _ in range(200)]
    expected = [[(item.index, item.score) for item in reranker.rank(**body)] for body in bodies]
    sent = [json.dumps(body).encode() for body in bodies]
    del reranker
    answers: list[tuple[int, Answer]] = []
    memory: dict[int, float] = {}

    async def client(number: int) -> None:
        connection = Connection(service.port)
        for turn in range(each):
            which = (number * 31 + turn * 7) % len(bodies)
            answers.append((which, await connection.post(sent[which])))
            if len(answers) in (500, 3000):
                memory[len(answers)] = service.memory()
        connection.close()

    begun = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    seconds = time.perf_counter() - begun
    statuses = {
        status: sum(answer.status == status for _, answer in answers)
        for status in sorted({answer.status for _, answer in answers})
    }
    wrong = sum(answer.status == 200 and not right(answer, expected[which]) for which, answer in answers)
    times = [answer.seconds for _, answer in answers if answer.status == 200]
    documents = sum(len(bodies[which]["documents"]) for which, answer in answers if answer.status == 200)
    rows.add(f"{CLIENTS} clients x {each} requests of 5-20", f"statuses {statuses}, {wrong} wrong", "all 200, 0 wrong")
    rows.add("  rate", f"{len(times) / seconds:.0f} requests, {documents / seconds:.0f} documents per second")
    rows.add("  latency", f"p50 {percentile(times, 0.5):.0f} ms, p99 {percentile(times, 0.99):.0f} ms")
    if len(memory) == 2:
        growth = 100 * (memory[3000] / memory[500] - 1)
        rows.add("  memory after 500, 3,000", f"{memory[500]:.0f}, {memory[3000]:.0f} MB ({growth:+.1f} %)", "+5 %")
    return documents / seconds


async def half_of_capacity(rows: Rows, service: Service, capacity: float, count: int) -> None:
    """10-document requests at times drawn at random, on average at half the rate that the service bears."""
    bodies = [json.dumps(request(10)).encode() for _ in range(50)]
    idle: list[Connection] = []
    answers: list[Answer] = []

    async def send(body: bytes) -> None:
        connection = idle.pop() if idle else Connection(service.port)
        answers.append(await connection.post(body))
        idle.append(connection)

    tasks = []
    for number in range(count):
        tasks.append(asyncio.create_task(send(bodies[number % len(bodies)])))
        await asyncio.sleep(RNG.expovariate(capacity / 10 / 2))
    await asyncio.gather(*tasks)
    times = [answer.seconds for answer in answers]
    p50, p99 = percentile(times, 0.5), percentile(times, 0.99)
    failed = sum(answer.status != 200 for answer in answers)
    said = f"p50 {p50:.1f} ms, p99 {p99:.1f} ms: {p99 / p50:.1f} times; {failed} failed"
    rows.add("10 documents, half of capacity", said, "p99 at most 10 x p50")
    for connection in idle:
        connection.close()


async def beside_a_long_one(rows: Rows, service: Service, count: int) -> None:
    """5-document requests, one after another, on an idle server and while 1,000-document requests are under way."""
    bodies = [json.dumps(request(5)).encode() for _ in range(50)]
    connection, other = Connection(service.port), Connection(service.port)
    long = json.dumps(request(1000)).encode()

    async def measure() -> list[float]:
        return [(await connection.post(bodies[number % 50])).seconds for number in range(count)]

    await measure()
    alone = await measure()
    beside: list[float] = []
    while len(beside) < count:
        under_way = asyncio.create_task(other.post(long))
        await asyncio.sleep(0.2)
        while not under_way.done() and len(beside) < count:
            seconds = (await connection.post(bodies[len(beside) % 50])).seconds
            if not under_way.done():
                beside.append(seconds)
        await under_way
    ratio = statistics.median(beside) / statistics.median(alone)
    shown = (
        f"median {1e3 * statistics.median(alone):.1f} -> {1e3 * statistics.median(beside):.1f} ms: {ratio:.1f} times"
    )
    rows.add(
        "5 documents beside 1,000",
        f"{shown}; p99 {percentile(alone, 0.99):.0f} -> {percentile(beside, 0.99):.0f}",
        "3 times",
    )
    connection.close()
    other.close()


async def overload(rows: Rows) -> None:
    """More than the queue holds, then at once a small request."""
    with serving("--max-queue-tokens", "10000") as service:
        body, small = json.dumps(request(20)).encode(), json.dumps(request(1)).encode()
        connections = [Connection(service.port) for _ in range(64)]
        await connections[0].post(small)
        answers = [
            answer
            for _ in range(5)
            for answer in await asyncio.gather(*(connection.post(body) for connection in connections))
        ]
        refused = [answer.seconds for answer in answers if answer.status == 429]
        probes = await asyncio.gather(*(connection.get("/health") for connection in connections))
        begun = time.perf_counter()
        after = await connections[0].post(small)
        seconds = time.perf_counter() - begun
        statuses = sorted({answer.status for answer in answers})
        times = f"429 in p50 {percentile(refused, 0.5):.1f}, at most {1e3 * max(refused):.1f} ms" if refused else "none"
        rows.add(
            "overload, 64 at once", f"{len(refused)} of {len(answers)} refused, {times}; {statuses}", "under 50 ms"
        )
        rows.add("  /health, 64 at once", f"p50 {percentile([probe.seconds for probe in probes], 0.5):.1f} ms")
        rows.add("  afterwards", f"status {after.status} in {1e3 * seconds:.1f} ms", "at once")
        for connection in connections:
            connection.close()


async def idle(rows: Rows, service: Service, checks: int) -> None:
    """CPU with nothing to do; memory over many probes."""
    begun, cpu = time.perf_counter(), service.cpu_seconds()
    await asyncio.sleep(10)
    share = 100 * (service.cpu_seconds() - cpu) / (time.perf_counter() - begun)
    rows.add("idle", f"{share:.2f} % of a core", "1 %")
    connection = Connection(service.port)
    before = service.memory()
    for number in range(checks):
        answer = await connection.get(("/health", "/ready", "/metrics")[number % 3])
        assert answer.status == 200, answer
    after = service.memory()
    rows.add(f"memory over {checks:,} probes", f"{before:.1f} -> {after:.1f} MB", "no more")
    connection.close()


async def killed(rows: Rows) -> None:
    """A worker of two is killed under load."""
    with serving("--processes", "2") as service:
        while service.started() < 2:
            await asyncio.sleep(0.05)
        body = json.dumps(request(5)).encode()
        answers: list[Answer] = []
        stop = asyncio.Event()

        async def client() -> None:
            while not stop.is_set():
                connection = Connection(service.port)
                answers.append(await connection.post(body))
                connection.close()

        clients = [asyncio.create_task(client()) for _ in range(8)]
        await asyncio.sleep(2)
        workers = [process for process in service.family()[1:] if process.ppid() != service.family()[0].pid]
        begun = time.perf_counter()
        os.kill(workers[0].pid, signal.SIGKILL)
        while service.started() < 3 and time.perf_counter() - begun < 60:
            await asyncio.sleep(0.02)
        back = time.perf_counter() - begun
        stop.set()
        await asyncio.gather(*clients)
        lost = sum(answer.status == 0 for answer in answers)
        other = sum(answer.status not in (0, 200) for answer in answers)
        said = f"{lost} of {len(answers)} requests lost, {other} otherwise wrong; two again after {back:.1f} s"
        rows.add("kill -9 of a worker, 8 clients", said, "those in flight; 5 s and loading")


def memory_of_two(rows: Rows, model: str, modes: tuple[str, ...]) -> None:
    """PSS of one and two processes, and how soon they are ready."""
    body = json.dumps(request(20)).encode()

    async def warm(service: Service) -> None:
        connections = [Connection(service.port) for _ in range(8)]
        await asyncio.gather(*(connection.post(body) for connection in connections))
        for connection in connections:
            connection.close()

    for mode in modes:
        found = {}
        for processes in (1, 1, 2):  # the first builds what is to be built
            options = ("--mode", mode, "--processes", str(processes), "--min-fidelity", "none")  # weights may be random
            with serving(*options, model=model) as service:
                while service.started() < processes:
                    time.sleep(0.05)
                asyncio.run(warm(service))
                found[processes] = service.memory("pss"), service.seconds_to_ready
        (one, ready), (two, _) = found[1], found[2]
        said = f"{one:.0f} and {two:.0f} MB: {two / one:.2f} times; ready after {ready:.1f} s"
        rows.add(f"{Path(model).name}, {mode}: PSS of 1 and 2", said, "1.35 times; 5 s")


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkpoint", help="a folder of v2-m3's shape, for memory and start")
    parser.add_argument("--mode", action="append", help="modes for that; default: native-int8, onnx, onnx-int8")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    few = 5 if options.quick else 1
    rows = Rows()

    def with_service(measure: Callable[[Service], Awaitable[None]]) -> None:
        with serving() as service:
            asyncio.run(_run(measure, service))

    async def load(service: Service) -> None:
        capacity = await many_clients(rows, service, REQUESTS // few)
        await half_of_capacity(rows, service, capacity, 500 // few)
        await beside_a_long_one(rows, service, 100 // few)

    with_service(load)
    with_service(lambda service: idle(rows, service, 10_000 // few))
    asyncio.run(overload(rows))
    asyncio.run(killed(rows))
    memory_of_two(rows, options.checkpoint or "mini", tuple(options.mode or ("native-int8", "onnx", "onnx-int8")))
    rows.show()


async def _run(measure: Callable[[Service], Awaitable[None]], service: Service) -> None:
    await measure(service)


if __name__ == "__main__":
    main()
