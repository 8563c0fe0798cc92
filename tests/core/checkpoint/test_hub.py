"""Hub ids, with the real huggingface_hub against a stand-in for the Hub on this machine (the Hub itself is not to be
had where the tests run); each step is a process of its own, since huggingface_hub reads its settings at import."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bge_cpu import Reranker
from bge_cpu.export import export

pytestmark = pytest.mark.slow
COMMIT = "c0ffee" * 6 + "cafe"
REPO = "someone/tiny-reranker"

SCORE = """
import sys, warnings
from bge_cpu import Reranker
options = eval(sys.argv[1])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(Reranker.load("someone/tiny-reranker", **{"mode": "onnx"} | options).score([("panda", "a bear")]))
print([str(warning.message) for warning in caught if "Hub" in str(warning.message)], file=sys.stderr)
"""


class Hub:
    """Serves one folder as a model repository with one commit, and writes down what was asked."""

    def __init__(self, folder: Path) -> None:
        requests: list[str] = []
        files = {file.name: file.read_bytes() for file in folder.iterdir()}

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.respond(body=False)

            def do_GET(self) -> None:
                self.respond(body=True)

            def respond(self, *, body: bool) -> None:
                requests.append(self.path)
                path, api = self.path.partition("?")[0], f"/api/models/{REPO}"
                content: bytes | None = None
                if path in (api, f"{api}/revision/main", f"{api}/revision/{COMMIT}"):
                    siblings = [{"rfilename": name} for name in files]
                    content = json.dumps({"id": REPO, "modelId": REPO, "sha": COMMIT, "siblings": siblings}).encode()
                elif path == f"{api}/tree/{COMMIT}":
                    entries = [
                        {"type": "file", "path": name, "size": len(data), "oid": f"{len(data):040x}"}
                        for name, data in files.items()
                    ]
                    content = json.dumps(entries).encode()
                elif path.startswith(f"/{REPO}/resolve/{COMMIT}/"):
                    content = files.get(path.rpartition("/")[2])
                self.send_response(200 if content is not None else 404)
                if content is None:
                    self.send_header("X-Error-Code", "RepoNotFound")
                    self.send_header("Content-Length", "0")
                else:
                    self.send_header("Content-Length", str(len(content)))
                    self.send_header("Content-Type", "application/json")
                    self.send_header("X-Repo-Commit", COMMIT)
                    self.send_header("ETag", f'"{len(content):040x}"')
                self.end_headers()
                if body and content is not None:
                    self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.requests = requests
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hub(tiny_xlmr: Path) -> Iterator[Hub]:
    served = Hub(tiny_xlmr)
    yield served
    served.close()


def score(home: Path, endpoint: str, options: str = "{}", **settings: str) -> subprocess.CompletedProcess[str]:
    """Score a pair in a new process."""
    environment = os.environ | {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1"} | settings
    command = [sys.executable, "-c", SCORE, options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_download_then_the_cache(hub: Hub, tmp_path: Path, tiny_xlmr: Path) -> None:
    first = score(tmp_path, hub.url)
    assert first.returncode == 0, first.stderr
    assert len(eval(first.stdout)) == 1
    assert any("/resolve/" in request for request in hub.requests)

    hub.requests.clear()
    pinned = score(tmp_path, hub.url, f"dict(revision={COMMIT!r})")
    assert pinned.stdout == first.stdout
    assert hub.requests == [], "a pinned commit in the cache costs no call"

    for options, settings in (("dict(local_files_only=True)", {}), ("{}", {"HF_HUB_OFFLINE": "1"})):
        offline = score(tmp_path, hub.url, options, **settings)
        assert offline.stdout == first.stdout
        assert hub.requests == [], "offline means no call"

    again = score(tmp_path, hub.url)
    assert again.stdout == first.stdout
    assert not any("/resolve/" in request for request in hub.requests), "what is cached is not fetched again"

    hub.close()
    unreachable = score(tmp_path, hub.url)
    assert unreachable.stdout == first.stdout
    assert f"using the cached commit {COMMIT}" in unreachable.stderr


def test_only_what_is_needed_is_fetched(hub: Hub, tmp_path: Path, tiny_xlmr: Path) -> None:
    assert score(tmp_path, hub.url).returncode == 0
    fetched = {path.name for path in tmp_path.rglob("snapshots/*/*")}
    assert fetched == {"config.json", "tokenizer.json", "model.safetensors"}


def test_an_exported_folder_runs_in_its_mode_from_the_hub_too(tmp_path: Path, tiny_xlmr: Path) -> None:
    exported = export(tiny_xlmr, tmp_path / "exported", mode="onnx-int8", min_fidelity=None)
    hub = Hub(exported)
    try:
        done = score(tmp_path / "home", hub.url, "dict(mode=None, min_fidelity=None)")
    finally:
        hub.close()
    local = Reranker.load(exported, min_fidelity=None)
    assert local.mode == "onnx-int8"
    assert eval(done.stdout) == local.score([("panda", "a bear")]), done.stderr


def test_errors_say_why(hub: Hub, tmp_path: Path) -> None:
    offline = score(tmp_path, hub.url, "dict(local_files_only=True)")
    assert "is not in the Hub's cache, and local_files_only is set" in offline.stderr
    assert hub.requests == []
    offline = score(tmp_path, hub.url, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set" in offline.stderr
    unknown = score(tmp_path, hub.url, "dict(revision='no-such-branch')")
    assert "CheckpointError: the Hub refused someone/tiny-reranker (revision no-such-branch)" in unknown.stderr
    hub.close()
    unreachable = score(tmp_path, hub.url)
    assert "CheckpointError: someone/tiny-reranker is not whole in the Hub's cache" in unreachable.stderr


def test_an_interrupted_download_is_taken_up_again(hub: Hub, tmp_path: Path) -> None:
    assert score(tmp_path, hub.url).returncode == 0
    weights = next(tmp_path.rglob("snapshots/*/model.safetensors"))
    weights.unlink()
    pinned = score(tmp_path, hub.url, f"dict(revision={COMMIT!r}, local_files_only=True)")
    assert "is not in the Hub's cache" in pinned.stderr
    assert score(tmp_path, hub.url, f"dict(revision={COMMIT!r})").returncode == 0
    assert weights.exists()
