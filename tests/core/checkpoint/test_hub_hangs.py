"""A Hub that hangs, and proxies that no client takes: seconds, then the cache with a warning, or a clear error."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

COMMIT = "c0ffee" * 6 + "cafe"
REPO = "someone/tiny-reranker"
SCRIPT = """
import sys, warnings
from bge_cpu import BgeCpuError
from bge_cpu.checkpoint import open_checkpoint
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    try:
        print(open_checkpoint(sys.argv[1]).commit)
    except BgeCpuError as error:
        print(error)
print([str(warning.message) for warning in caught])
"""


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as accepted:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    accepted.enter_context(server.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def stuck() -> Iterator[str]:
    """A server that names a new commit, and answers nothing else."""
    content = json.dumps({"id": REPO, "modelId": REPO, "sha": "f" * 40, "siblings": []}).encode()
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if "/tree/" in self.path:
                closing.wait()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    closing.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def home(tiny_xlmr: Path, tmp_path: Path) -> Path:
    """A Hub's cache that holds one commit of one model."""
    repo = tmp_path / "hub" / f"models--{REPO.replace('/', '--')}"
    shutil.copytree(tiny_xlmr, repo / "snapshots" / COMMIT)
    (repo / "refs").mkdir()
    (repo / "refs/main").write_text(COMMIT)
    return tmp_path


def opened(home: Path, model: str = REPO, **settings: str) -> tuple[str, str]:
    """What came of opening a model in a new process, and the warnings."""
    no_proxy = dict.fromkeys(("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"), "")
    environment = os.environ | no_proxy | {"HF_HOME": str(home), "HF_HUB_ETAG_TIMEOUT": "2"} | settings
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, model], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    *found, warnings = done.stdout.splitlines()
    return "\n".join(found), warnings


def test_a_hub_that_hangs_costs_seconds(home: Path, silent: str) -> None:
    found, warnings = opened(home, HF_ENDPOINT=silent)
    assert found == COMMIT
    assert f"the Hub at {silent} did not answer" in warnings
    assert f"using the cached commit {COMMIT}" in warnings


def test_where_nothing_is_cached_the_error_names_the_endpoint(tmp_path: Path, silent: str) -> None:
    found, _ = opened(tmp_path, HF_ENDPOINT=silent)
    assert f"is not whole in the Hub's cache, and {silent} did not deliver it" in found
    assert "\nhint: check network, proxy" in found


def test_a_hub_that_hangs_at_a_new_commit_costs_seconds_too(home: Path, tmp_path: Path, stuck: str) -> None:
    with ThreadPoolExecutor() as both:
        cached = both.submit(opened, home, HF_ENDPOINT=stuck)
        nothing = both.submit(opened, tmp_path / "empty", HF_ENDPOINT=stuck)
    found, warnings = cached.result()
    assert found == COMMIT
    assert f"the Hub at {stuck} did not answer (no answer within 6 s); using the cached commit {COMMIT}" in warnings
    found, _ = nothing.result()
    assert f"{stuck} did not deliver it: no answer within 6 s" in found


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "socks://127.0.0.1:9", "nonsense"])
def test_a_proxy_that_no_client_takes_is_no_obstacle_to_the_cache(home: Path, proxy: str) -> None:
    found, warnings = opened(home, ALL_PROXY=proxy, HF_ENDPOINT="http://hub.invalid")
    assert found == COMMIT
    assert "the Hub at http://hub.invalid did not answer" in warnings


def test_a_half_downloaded_set_of_shards_is_not_taken_for_whole(home: Path, silent: str) -> None:
    (snapshot,) = home.glob("hub/*/snapshots/*")
    (snapshot / "model.safetensors").rename(snapshot / "model-00001-of-00002.safetensors")
    (snapshot / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}'
    )
    found, _ = opened(home, HF_ENDPOINT=silent)
    assert "is not whole in the Hub's cache" in found
