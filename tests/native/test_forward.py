"""The whole forward pass: against numpy, to the same bits in any company, and what it refuses."""

import ctypes
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bge_cpu.errors import ArtifactError, InputError, MissingDependencyError
from bge_cpu.kernels.library import Kernels, Library
from bge_cpu.kernels.model import Model, Scratch, Team, why_not
from bge_cpu.kernels.pack import CLASSES
from tests.native.models import (
    SMALL,
    Float,
    Pair,
    packed_model,
    random_pairs,
    random_weights,
    reference,
    run_of,
    serial_of,
)


@pytest.fixture
def model(library: Library, kernels: Kernels) -> Model:
    """A small random model."""
    kind = CLASSES[kernels.kind]
    return packed_model(library, kind, SMALL, random_weights(SMALL, kind))


@pytest.fixture
def pairs() -> list[Pair]:
    """Pairs of very different lengths."""
    return random_pairs(SMALL, [33, 1, 300, 7, 64, 2, 129, 12, 550, 3])


def logits(model: Model, kernels: Kernels, library: Library, pairs: list[Pair], team: Team | None = None) -> Float:
    found = model.logits(kernels, run_of(pairs), Scratch(library), team=team)
    assert found is not None
    return found


@pytest.mark.parametrize("of", [{}, {"heads": 3}, {"heads": 12}, {"hidden": 64, "heads": 1, "intermediate": 32}])
def test_it_is_the_plain_forward_pass(library: Library, kernels: Kernels, of: dict[str, Any]) -> None:
    sizes, kind = replace(SMALL, **of), CLASSES[kernels.kind]
    weights = random_weights(sizes, kind, seed=2)
    model = packed_model(library, kind, sizes, weights)
    pairs = random_pairs(sizes, [1, 2, 40, 17, 250, 9, 31, 64, 100, 77, 5, 12] * 2, seed=3)
    found = logits(model, kernels, library, pairs)
    wanted = np.array([reference(sizes, weights, pair) for pair in pairs])
    assert np.corrcoef(found, wanted)[0, 1] > 0.995
    assert np.sqrt(np.mean((found - wanted) ** 2)) < 0.1 * wanted.std()


def test_serial_agrees(library: Library, kernels: Kernels, model: Model, pairs: list[Pair]) -> None:
    found = logits(model, kernels, library, pairs)
    serial = logits(model, serial_of(library), library, pairs)
    assert np.abs(found - serial).max() < 0.2 * found.std()


def test_a_pair_has_the_same_bits_in_any_company(
    library: Library, kernels: Kernels, model: Model, pairs: list[Pair]
) -> None:
    together = logits(model, kernels, library, pairs)
    alone = np.concatenate([logits(model, kernels, library, [pair]) for pair in pairs])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together, logits(model, kernels, library, pairs[::-1])[::-1])
    order = np.random.default_rng(1).permutation(len(pairs))
    np.testing.assert_array_equal(together[order], logits(model, kernels, library, [pairs[i] for i in order]))


@pytest.fixture(params=[0, 1, 3])
def team(library: Library, request: pytest.FixtureRequest) -> Iterator[Team]:
    """A team, and so many threads that help it all the time."""
    team, done = Team(library), threading.Event()

    def work() -> None:
        scratch = Scratch(library)
        while not done.wait(0.0005):
            team.help(scratch, team.recalls)

    helpers = [threading.Thread(target=work) for _ in range(request.param)]
    for helper in helpers:
        helper.start()
    yield team
    done.set()
    team.recall()
    for helper in helpers:
        helper.join()


def test_helpers_and_other_leaders_change_no_bit(
    library: Library, kernels: Kernels, model: Model, pairs: list[Pair], team: Team
) -> None:
    pairs = [pair for pair in pairs if len(pair[0]) < 200]
    wanted = logits(model, kernels, library, pairs)
    found: list[Float | None] = []

    def lead() -> None:
        scratch = Scratch(library)
        found.extend(model.logits(kernels, run_of(pairs), scratch, team=team) for _ in range(2))

    leaders = [threading.Thread(target=lead) for _ in range(3)]
    for leader in leaders:
        leader.start()
    for leader in leaders:
        leader.join()
    assert len(found) == 6
    for one in found:
        np.testing.assert_array_equal(one, wanted)


def test_a_recalled_helper_does_not_begin(library: Library) -> None:
    team, scratch = Team(library), Scratch(library)
    before = team.recalls
    team.recall()
    assert team.help(scratch, before) == 0
    assert team.help(scratch, team.recalls) == 0  # nobody leads


def test_scratch_grows_to_the_longest_run_and_no_further(library: Library, kernels: Kernels, model: Model) -> None:
    scratch = Scratch(library)
    assert scratch.bytes == 0
    model.logits(kernels, run_of(random_pairs(SMALL, [400])), scratch)
    most = scratch.bytes
    for length in (1, 30, 400, 250):
        model.logits(kernels, run_of(random_pairs(SMALL, [length])), scratch)
    assert scratch.bytes == most


def test_cancelled(library: Library, kernels: Kernels, model: Model, pairs: list[Pair]) -> None:
    scratch = Scratch(library)
    assert model.logits(kernels, run_of(pairs), scratch, cancel=ctypes.c_int32(1)) is None
    assert model.logits(kernels, run_of(pairs), scratch, cancel=ctypes.c_int32(0)) is not None


@pytest.mark.parametrize(
    ("part", "place", "value"),
    [(0, 3, 300), (0, 3, -1), (1, 0, 2), (1, 0, -7), (2, 5, 2048), (2, 5, -1), (3, 0, 1), (3, 1, 33), (3, 1, 10**6)],
)
def test_what_is_outside_a_table_is_refused(
    library: Library, kernels: Kernels, model: Model, part: int, place: int, value: int
) -> None:
    run = [array.astype(np.int32) for array in run_of(random_pairs(SMALL, [33, 5, 2]))]
    if part == 3 and place == 1 and value == 33:
        run[3][2] = 33  # an empty pair
    else:
        run[part][place] = value
    with pytest.raises(InputError):
        model.logits(kernels, run, Scratch(library))


def test_arrays_that_do_not_fit_each_other_are_refused(library: Library, kernels: Kernels, model: Model) -> None:
    run = run_of(random_pairs(SMALL, [33, 5]))
    with pytest.raises(InputError, match="do not fit"):
        model.logits(kernels, [run[0][:-1], *run[1:]], Scratch(library))
    with pytest.raises(InputError, match="do not fit"):
        model.logits(kernels, [*run[:3], np.array([0])], Scratch(library))


def test_tensors_are_checked(library: Library, kernels: Kernels, model: Model) -> None:
    kind, tensors = CLASSES[kernels.kind], dict(model._kept)
    name = "bert.encoder.layer.0.output.dense.weight"
    for damage in (tensors[name][:-1], tensors[name].astype(np.int16), tensors[name][..., ::-1]):
        with pytest.raises(ArtifactError, match="tensor bert"):
            Model(library, kind, SMALL, {**tensors, name: damage})
    del tensors[name]
    with pytest.raises(ArtifactError, match="no tensor"):
        Model(library, kind, SMALL, tensors)


@pytest.mark.parametrize(
    ("of", "why"),
    [
        ({"hidden": 100}, "hidden size of 100"),
        ({"hidden": 8192}, "hidden size of 8192"),
        ({"heads": 5}, "5 heads"),
        ({"heads": 24}, "head of 4"),
        ({"intermediate": 100}, "intermediate size"),
    ],
)
def test_sizes_that_do_not_run_are_named(library: Library, of: dict[str, Any], why: str) -> None:
    assert why in (why_not(replace(SMALL, **of)) or "")
    with pytest.raises(ArtifactError, match=why):
        Model(library, CLASSES["avx2"], replace(SMALL, **of), {})


def test_kernels_of_another_class_are_refused(library: Library, pairs: list[Pair]) -> None:
    kind = CLASSES["neon"]
    model = packed_model(library, kind, SMALL, random_weights(SMALL, kind))
    for kernels in library.kernels():
        if kernels.kind not in ("", "neon"):
            with pytest.raises(ArtifactError, match=kernels.name):
                model.logits(kernels, run_of(pairs), Scratch(library))


def test_the_classes_are_the_librarys(library: Library) -> None:
    known = {kernels.kind for kernels in library.kernels()} - {""}
    assert known <= CLASSES.keys()
    assert library.kernels()[-1].name == "serial"
    assert library.named("no such kernels") is None
    best = library.best()
    assert best is None or (best.run_here and best.kind)


def test_every_kernel_file_is_tested(library: Library) -> None:
    idle = [kernels.name for kernels in library.kernels() if not kernels.run_here]
    if idle:
        pytest.skip(f"{', '.join(idle)} need another CPU; make test-native runs them in emulation")


def test_a_missing_library_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match="onnx-int8"):
        Library(tmp_path / "none.so")
