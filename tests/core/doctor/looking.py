"""The doctor's examination of a machine under a folder, with packages as pip would describe them."""

from pathlib import Path

from bge_cpu.doctor import Check, examine

REFUSED = "http://127.0.0.1:9"  # nothing listens on the discard port
V2_M3 = "BAAI/bge-reranker-v2-m3"
BASE = {
    "bge-cpu": "0.1.0",
    "onnxruntime": "1.32.0",
    "onnx": "1.23.2",
    "tokenizers": "0.23.3",
    "safetensors": "0.8.0",
    "huggingface_hub": "2.4.0",
}
TORCH = {"torch": "2.13.0", "transformers": "5.23.0"}


def look(
    root: Path,
    mode: str = "onnx-int8",
    model: str = V2_M3,
    *,
    environ: dict[str, str] | None = None,
    versions: dict[str, str] | None = None,
    machine: str = "x86_64",
    offline: bool = True,
) -> dict[str, Check]:
    """The checks by name; each name is there once, and each problem has a remedy."""
    checks = examine(
        mode,
        model,
        environ=environ or {},
        cache=root / "cache",
        root=root,
        machine=machine,
        versions=BASE | TORCH if versions is None else versions,
        endpoint=REFUSED,
        offline=offline,
    )
    assert len({check.name for check in checks}) == len(checks)
    assert all(check.remedy for check in checks if check.status == "problem")
    return {check.name: check for check in checks}
