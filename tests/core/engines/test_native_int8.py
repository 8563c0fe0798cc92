"""Mode "native-int8": close to float32, independent of company, threads that help, artifacts that are checked."""

import json
import threading
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest

from bge_cpu import CheckpointError, InputError, MissingDependencyError, Reranker
from bge_cpu.checkpoint import open_checkpoint
from bge_cpu.engines import check_mode, default_mode, native_int8
from bge_cpu.export import export
from bge_cpu.kernels import library as kernels
from bge_cpu.kernels.model import Scratch
from bge_cpu.quantization.fidelity import compare, spearman
from tests.checkpoints import adversarial
from tests.modes import needs_kernels
from tests.pairs import MANY, PAIRS, LogitsOf, check_equal_in_any_company, logits

pytestmark = needs_kernels


def test_close_to_float32_even_with_random_weights(tiny: Path) -> None:
    assert spearman(logits(tiny, "onnx", MANY), logits(tiny, "native-int8", MANY)) > 0.9


def test_bit_equal_in_any_company_order_thread_and_thread_count(tiny: Path) -> None:
    check_equal_in_any_company(tiny, PAIRS, mode="native-int8", min_fidelity=None)


@pytest.mark.model
def test_trained_checkpoint_is_closer_to_float32_than_on_onnx_runtime(mini_logits: LogitsOf) -> None:
    reference = mini_logits("onnx")
    found = compare(reference, mini_logits("native-int8"))
    assert found.spearman >= 0.998
    assert found.rmse <= compare(reference, mini_logits("onnx-int8")).rmse


@pytest.mark.model
@pytest.mark.filterwarnings("ignore:cut to max_length")
def test_scaled_value_channels_are_balanced_away(
    mini: Path, mini_logits: LogitsOf, real_pairs: list[tuple[str, str]], tmp_path: Path
) -> None:
    hard = adversarial(mini, tmp_path / "hard")
    assert spearman(mini_logits("onnx"), logits(hard, "native-int8", real_pairs)) >= 0.995


def test_it_is_the_default_where_its_kernels_run(tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bge_cpu.engines.features", lambda: frozenset({"avx2"}))
    assert default_mode() == check_mode(None) == "native-int8"
    assert Reranker.load(tiny_xlmr, min_fidelity=None).mode == "native-int8"
    monkeypatch.setattr("bge_cpu.engines.features", lambda: frozenset({"avx512_vnni", "amx_int8"}))
    assert default_mode() == "onnx-int8"
    monkeypatch.setattr("bge_cpu.engines.available", lambda: None)
    assert default_mode() == "onnx-int8"


def test_a_cpu_without_the_instructions_is_told_which_mode_to_use(
    tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels.Library, "best", lambda self: None)
    with pytest.raises(InputError, match='no kernels for this CPU\nhint: use mode="onnx-int8"'):
        Reranker.load(tiny_xlmr, mode="native-int8", min_fidelity=None)


def test_a_missing_library_is_named(tiny_xlmr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> kernels.Library:
        return kernels.Library(tmp_path / "missing.so")

    monkeypatch.setattr(native_int8, "library", missing)
    with pytest.raises(MissingDependencyError, match='or use mode="onnx-int8"'):
        Reranker.load(tiny_xlmr, mode="native-int8", min_fidelity=None)


def test_sizes_that_the_kernels_do_not_run_are_named(tiny_xlmr: Path, tmp_path: Path) -> None:
    for file in tiny_xlmr.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text()) | {"num_attention_heads": 16}  # heads of 4
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r'head of 4.*\nhint: use mode="onnx-int8"'):
        native_int8.recipe(open_checkpoint(tmp_path))


def test_a_cancelled_call_ends_and_the_next_one_is_right(tiny_xlmr: Path) -> None:
    reranker = Reranker.load(tiny_xlmr, mode="native-int8", min_fidelity=None, threads=2)
    expected = reranker.score(PAIRS)
    query, documents = PAIRS[0][0], [document for _, document in PAIRS] * 200
    asked = threading.Event()

    def cancelled() -> bool:
        asked.set()
        return True

    with pytest.raises(CancelledError):
        reranker.rank(query, documents, cancelled=cancelled)
    assert asked.is_set()
    assert reranker.score(PAIRS) == expected


def test_many_callers_at_once_get_their_own(tiny_xlmr: Path) -> None:
    reranker = Reranker.load(tiny_xlmr, mode="native-int8", min_fidelity=None, threads=3)
    expected = dict(zip(MANY, reranker.score(MANY), strict=True))
    wrong: list[int] = []

    def call(number: int) -> None:
        rng = np.random.default_rng(number)
        for _ in range(20):
            some = [MANY[place] for place in rng.integers(0, len(MANY), int(rng.integers(1, 9)))]
            if reranker.score(some) != [expected[pair] for pair in some]:
                wrong.append(number)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong and not any(thread.is_alive() for thread in threads)


def test_memory_grows_to_the_longest_run_and_no_further(tiny_xlmr: Path) -> None:
    reranker = Reranker.load(tiny_xlmr, mode="native-int8", min_fidelity=None, threads=1)
    engine = reranker.engine
    assert isinstance(engine, native_int8.NativeEngine)
    sizes: list[int] = []
    scratch_of = engine._scratch
    engine._scratch = lambda: _noted(scratch_of(), sizes)  # type: ignore[method-assign]
    reranker.score([("a", "b " * 400)])
    reranker.score(PAIRS * 20)
    reranker.score([("a", "b " * 400)])
    assert sizes[-1] == max(sizes) and len(set(sizes[1:])) <= 2


def _noted(scratch: Scratch, sizes: list[int]) -> Scratch:
    sizes.append(scratch.bytes)
    return scratch


def test_an_exported_folder_is_the_artifact_and_damage_is_an_error(tiny_xlmr: Path, tmp_path: Path) -> None:
    out = export(tiny_xlmr, tmp_path / "out", mode="native-int8", cache_dir=tmp_path / "cache", min_fidelity=None)
    assert not (out / "model.onnx").exists()
    source = Reranker.load(tiny_xlmr, mode="native-int8", cache_dir=tmp_path / "cache", min_fidelity=None)
    exported = Reranker.load(out)
    assert exported.mode == "native-int8"
    assert exported.score(PAIRS) == source.score(PAIRS)
    data = bytearray((out / "model.safetensors").read_bytes())
    rng = np.random.default_rng(0)
    for place in [0, 7, 9, *rng.integers(0, len(data), 20).tolist()]:
        damaged = data.copy()
        damaged[place] ^= 0x10
        (out / "model.safetensors").write_bytes(damaged)
        with pytest.raises(Exception, match=r"damaged|not a whole safetensors"):
            Reranker.load(out)
    (out / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(Exception, match=r"damaged|not a whole safetensors"):
        Reranker.load(out)


def test_the_artifact_begins_on_a_page_and_its_codes_on_cache_lines(tiny_xlmr: Path, tmp_path: Path) -> None:
    Reranker.load(tiny_xlmr, mode="native-int8", cache_dir=tmp_path, min_fidelity=None)
    (file,) = tmp_path.glob("*native-int8*/model.safetensors")
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
    assert (8 + size) % 4096 == 0
    places = [entry["data_offsets"][0] for entry in header.values() if entry["dtype"] == "I8"]
    assert places and all(place % 64 == 0 for place in places)
