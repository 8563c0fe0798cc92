"""Real service processes for the tests, on 127.0.0.1, and the texts that they rank."""

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.commands import COMMAND

for package in ("fastapi", "uvicorn", "prometheus_client"):
    pytest.importorskip(package, reason="needs the extra service")

BASIC = "什么是人工智能?", ["苹果是一种水果,富含维生素C。", "人工智能是让机器模拟人类智能行为的技术。"]
TRAP = (
    "如何治疗糖尿病足?",
    [
        "足疗店提供全身按摩服务,包括足部精油护理,缓解疲劳。",
        "糖尿病足患者应注意足部清洁,避免感染,定期检查皮肤破损。",
        "胰岛素注射是控制血糖的重要手段之一,需遵医嘱使用。",
    ],
)
"""The article's two checks; the second document is the right one of both."""

SECONDS = 120.0  # that anything may take; the machine may be busy


class Service:
    """A running `bge-cpu serve`."""

    def __init__(self, *options: str, environ: dict[str, str] | None = None) -> None:
        command = [*COMMAND, "serve", "--port", "0", *options]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=os.environ | (environ or {}), start_new_session=True
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self.lines.append(line)

    @property
    def log(self) -> str:
        return "".join(self.lines)

    @property
    def url(self) -> str:
        """Its address, once it listens."""
        wait(lambda: "serving on" in self.log or self.process.poll() is not None)
        found = re.search(r"serving on (http://[0-9.:]+)", self.log)
        assert found, self.log
        return found[1]

    def client(self, **options: object) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=SECONDS, trust_env=False, **options)  # type: ignore[arg-type]

    def workers(self) -> list[int]:
        """The processes that serve, where there are several: forked from one that the supervisor has started."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        return [child.pid for child in family if _parent(child) not in (None, self.process.pid)]

    def stop(self) -> int:
        """End it as an operator would; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        return code


@contextmanager
def serving(*options: str, environ: dict[str, str] | None = None) -> Iterator[Service]:
    """A service that is ready."""
    service = Service(*options, environ=environ)
    try:
        wait(lambda: _ready(service))
        yield service
    finally:
        if service.process.poll() is None:
            service.stop()


def _parent(process: psutil.Process) -> int | None:
    try:
        return None if process.status() == psutil.STATUS_ZOMBIE else int(process.ppid())
    except psutil.NoSuchProcess:
        return None


def _ready(service: Service) -> bool:
    assert service.process.poll() is None, service.log
    try:
        return httpx.get(f"{service.url}/ready", timeout=SECONDS, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def wait(condition: object, seconds: float = SECONDS) -> None:
    """Until something is so."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def figure(client: httpx.Client, name: str) -> float:
    """One of /metrics, summed over its labels."""
    text = client.get("/metrics").text
    assert f"# HELP {re.sub('_(count|sum|bucket)$', '', name)} " in text, name
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if re.match(rf"{name}[{{ ]", line))


def long_documents(count: int, words: int = 300) -> list[str]:
    """Documents that keep the model busy for a while."""
    return [" ".join([f"{number} giant pandas eat bamboo"] * (words // 5)) for number in range(count)]


MINI = str(Path(__file__).parents[2] / "core/bge_cpu/mini")


def raw(service: Service, *parts: bytes, seconds: float = 30.0) -> bytes:
    """What a server says to bytes that no client would send, until it closes the connection."""
    host, _, port = service.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        for part in parts:
            connection.sendall(part)
        said = b""
        try:
            while some := connection.recv(65536):
                said += some
        except ConnectionResetError:
            pass
        return said
