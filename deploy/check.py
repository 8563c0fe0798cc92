"""Runs within the image, as its user: starts the service, ranks over HTTP, ends it.

Arguments are the image's own command. Standard library only.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

KEY = "only-for-this-check-0"
PLACE = "http://127.0.0.1:8000"
SECONDS = 120.0
EXAMPLES = {
    "basic": ("什么是人工智能?", ["苹果是一种水果,富含维生素C。", "人工智能是让机器模拟人类智能行为的技术。"]),
    "keyword trap": (
        "如何治疗糖尿病足?",
        [
            "足疗店提供全身按摩服务,包括足部精油护理,缓解疲劳。",
            "糖尿病足患者应注意足部清洁,避免感染,定期检查皮肤破损。",
            "胰岛素注射是控制血糖的重要手段之一,需遵医嘱使用。",
        ],
    ),
}
"""The article's; the second document is the right one of both."""


def main(command: list[str]) -> None:
    """Check the image from within."""
    check_place()
    refused = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    expect(refused.returncode == 2 and "API key" in refused.stderr, f"no key, no service: {refused.stderr.strip()}")
    service = subprocess.Popen(command, env=os.environ | {"BGE_CPU_API_KEYS": KEY})
    try:
        started = time.monotonic()
        while not ready():
            expect(service.poll() is None and time.monotonic() - started < SECONDS, "the service starts")
            time.sleep(0.1)
        said(f"ready after {time.monotonic() - started:.1f} s")
        said(f"/health: {asked('/health')}, /info: {asked('/info')['mode']}")
        for name, (query, documents) in EXAMPLES.items():
            results = asked("/v2/rerank", {"query": query, "documents": documents})["results"]
            expect(results[0]["index"] == 1, f"{name}: the right document is first")
            said(f"{name}: {[(item['index'], round(item['relevance_score'], 4)) for item in results]}")
    finally:
        service.terminate()
        code = service.wait(SECONDS)
    expect(code == 0, f"SIGTERM ends it with 0, not {code}")
    said("SIGTERM: ended with 0")


def check_place() -> None:
    """Whose process this is, and what it can reach."""
    expect(os.getuid() != 0, "the user is not root")
    interfaces = [name for _, name in socket.if_nameindex()]
    expect(interfaces == ["lo"], f"there is no network but loopback, not {interfaces}")
    compilers = [name for name in ("cc", "gcc", "clang", "zig") if shutil.which(name)]
    expect(not compilers, f"there is no compiler, not {compilers}")
    expect(not os.access(Path(sys.executable).parent, os.W_OK), "the program cannot be written")
    said(f"user {os.getuid()}, interfaces {interfaces}, Python {sys.version.split()[0]}")


def ready() -> bool:
    """Whether /ready says so."""
    try:
        return bool(asked("/ready")["ready"])
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def asked(path: str, body: dict[str, Any] | None = None) -> Any:
    """What the service answers."""
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(PLACE + path, data, headers), timeout=30) as answer:
        return json.load(answer)


def expect(holds: bool, what: str) -> None:
    """End with what should have been, if it is not so."""
    if not holds:
        sys.exit(f"image: expected: {what}")


def said(line: str) -> None:
    """Print it at once."""
    print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
