"""Who may import whom: the rooms of the package, and for each the rooms of ours that it may import.

A room is a folder of core/bge_cpu, a module at its top, or an adapter. Imports count wherever they stand in a module,
those by `importlib.import_module` and those for type checkers included. A folder's modules import each other freely.
"""

import ast
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"bge_cpu": ROOT / "core/bge_cpu"} | {
    name: ROOT / name for name in ("langchain_bge_cpu", "llamaindex_bge_cpu")
}

PATH = {"reranker", "inputs", "pair_format", "tokenizer", "splitting", "scoring", "ranking", "display"}
"""The pair's way from text to score: the modules at the package's top that are one room together."""

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "extras": {"errors"},
    "machine": {"errors"},
    "checkpoint": {"errors"},
    "graph": {"checkpoint"},
    "quantization": {"checkpoint", "machine", "errors"},
    "kernels": {"checkpoint", "errors"},
    "engines": {"checkpoint", "graph", "quantization", "kernels", "machine", "errors", "extras"},
    "path": {"engines", "checkpoint", "errors"},
    "bge_cpu": {"path", "errors"},
    "export": {"path", "engines", "checkpoint", "graph", "machine", "errors"},
    "remote": {"path", "errors"},
    "adapters": {"remote", "path", "engines", "errors", "extras"},
    "documents": {"path", "errors"},
    "evaluation": {"path", "quantization", "errors", "extras"},
    "batch": {"evaluation", "path", "engines", "checkpoint", "machine", "errors", "extras"},
    "bench": {"path", "engines", "quantization", "machine", "errors"},
    "doctor": {"engines", "kernels", "checkpoint", "quantization", "machine", "errors"},
    "service": {"path", "engines", "checkpoint", "machine", "errors"},
    "ray": {"batch", "service", "path", "errors", "extras"},
    "cli": {
        *("path", "export", "evaluation", "batch", "ray", "bench", "doctor", "service", "extras"),
        *("engines", "checkpoint", "quantization", "machine", "errors", "bge_cpu"),
    },
    "__main__": {"cli"},
    "langchain_bge_cpu": {"adapters", "documents", "path", "extras"},
    "llamaindex_bge_cpu": {"adapters", "documents", "path", "errors", "extras"},
}
"""From the bottom up: a room imports rooms above its line only. `path` stands for the modules of `PATH`, `bge_cpu` for
the package's own `__init__`, which says what is public."""

WITHIN_THE_PATH: dict[str, set[str]] = {
    "inputs": set(),
    "splitting": set(),
    "display": {"ranking"},
    "ranking": {"display"},
    "pair_format": set(),
    "tokenizer": {"inputs", "pair_format", "splitting"},
    "scoring": {"tokenizer"},
    "reranker": {"inputs", "tokenizer", "scoring", "ranking"},
}
"""The same for the modules of the path, which are in order, too."""


def modules() -> Iterator[tuple[str, Path]]:
    """All modules of ours: dotted name and file."""
    for package, folder in PACKAGES.items():
        for file in sorted(folder.rglob("*.py")):
            parts = file.relative_to(folder).with_suffix("").parts
            yield ".".join((package, *(part for part in parts if part != "__init__"))), file


def room(module: str) -> str:
    """The room that a module is in.

    >>> room("bge_cpu.engines.onnx"), room("bge_cpu.scoring"), room("bge_cpu")
    ('engines', 'path', 'bge_cpu')
    """
    package, *names = module.split(".")
    if package != "bge_cpu" or not names:
        return package
    return "path" if names[0] in PATH else names[0]


def imported(source: str, module: str, known: set[str]) -> set[str]:
    """The modules of ours that a source imports; a name that cannot be told in full counts up to where it can.

    Args:
        source: The module's source.
        module: Its dotted name.
        known: All modules of ours, to tell a submodule from a name within a module.

    Raises:
        ValueError: A relative import, or `importlib` with a name of which nothing can be told.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise ValueError(f"{module} has a relative import in line {node.lineno}")
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                found.add(submodule if submodule in known else node.module)
        elif isinstance(node, ast.Call) and _name(node.func) in ("import_module", "__import__"):
            found.add(_prefix(node, module))
    return {name for name in found if name.partition(".")[0] in PACKAGES}


def _name(function: ast.expr) -> str:
    """What a function that is called is called, without what stands before the dot."""
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _prefix(call: ast.Call, module: str) -> str:
    """The name that `importlib` is given, or what of it stands before the first place to be filled in.

    A function's own parameter has no name to be read: that function has to be one that checks it, in `BY_PARAMETER`.
    """
    name = call.args[0]
    first = name.values[0] if isinstance(name, ast.JoinedStr) else name
    if isinstance(first, ast.Constant) and isinstance(first.value, str):
        return first.value.rstrip(".")
    if module in BY_PARAMETER and isinstance(name, ast.Name) and name.id == BY_PARAMETER[module]:
        return module
    raise ValueError(f"{module} imports by a name that cannot be told, in line {call.lineno}")


BY_PARAMETER = {"bge_cpu.evaluation.first_stage": "module", "bge_cpu.machine.child": "module"}
"""Functions that import what their callers name: module -> the parameter. The names that callers of `needs_extra` give
count; what a child process runs (`children.ask`) is imported there, not here."""


def named_to_needs_extra(source: str) -> set[str]:
    """The modules that calls of `needs_extra` name."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    named = [
        call.args[0] for call in calls if getattr(call.func, "id", getattr(call.func, "attr", "")) == "needs_extra"
    ]
    assert all(isinstance(name, ast.Constant) for name in named)
    return {str(name.value) for name in named if isinstance(name, ast.Constant)}


def forbidden(source: str, module: str, known: set[str]) -> list[str]:
    """The imports that the tables do not allow."""
    wrong = []
    for name in sorted(imported(source, module, known) | named_to_needs_extra(source)):
        here, there = room(module), room(name)
        if here == there == "path":
            one, other = (dotted.split(".")[1] for dotted in (module, name))
            allowed = one == other or other in WITHIN_THE_PATH[one]
        else:
            allowed = here == there or there in MAY_IMPORT[here]
        if not allowed:
            wrong.append(f"{module} ({here}) imports {name} ({there})")
    return wrong


KNOWN = dict(modules())


@pytest.mark.parametrize("module", KNOWN)
def test_imports_only_the_rooms_it_may(module: str) -> None:
    assert forbidden(KNOWN[module].read_text(encoding="utf-8"), module, set(KNOWN)) == []


def test_the_tables_name_the_rooms_that_there_are_from_the_bottom_up() -> None:
    assert {room(module) for module in KNOWN} == set(MAY_IMPORT)
    assert set(WITHIN_THE_PATH) == PATH
    rooms = list(MAY_IMPORT)
    for number, name in enumerate(rooms):
        assert MAY_IMPORT[name] <= set(rooms[:number]), f"{name} may import a room that stands below it: a circle"


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("bge_cpu.graph.nodes", "from bge_cpu.tokenizer import PairTokenizer", "imports bge_cpu.tokenizer (path)"),
        ("bge_cpu.machine.cpu", "import bge_cpu.engines.onnx", "imports bge_cpu.engines.onnx (engines)"),
        ("bge_cpu.quantization.fidelity", "from bge_cpu import engines", "imports bge_cpu.engines (engines)"),
        ("bge_cpu.checkpoint", "import bge_cpu", "imports bge_cpu (bge_cpu)"),
        ("bge_cpu.quantization.fidelity", "importlib.import_module('bge_cpu.engines')", "(engines)"),
        ("bge_cpu.machine.cpu", "import_module(f'bge_cpu.engines.{mode}')", "imports bge_cpu.engines (engines)"),
        ("bge_cpu.checkpoint.hub", "def late():\n    import langchain_bge_cpu", "(langchain_bge_cpu)"),
        ("bge_cpu.tokenizer", "if TYPE_CHECKING:\n    from bge_cpu.scoring import Scored", "bge_cpu.scoring (path)"),
        ("langchain_bge_cpu.rerank", "from bge_cpu.engines import check_mode", "imports bge_cpu.engines (engines)"),
        ("bge_cpu.reranker", "needs_extra('bge_cpu.evaluation.bm25')", "imports bge_cpu.evaluation.bm25 (evaluation)"),
    ],
)
def test_what_is_not_allowed_is_found(module: str, source: str, wrong: str) -> None:
    (found,) = forbidden(textwrap.dedent(source), module, set(KNOWN))
    assert found.startswith(module) and found.endswith(wrong)


@pytest.mark.parametrize("source", ["importlib.import_module(name)", "import_module(f'{name}.x')", "from . import cpu"])
def test_what_cannot_be_told_is_no_way_around(source: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be told|relative import"):
        forbidden(source, "bge_cpu.machine.cpu", set(KNOWN))
