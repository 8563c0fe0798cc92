"""What both adapters do with documents: check those that come in, add metadata to copies of those that go out."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from bge_cpu.errors import InputError
from bge_cpu.ranking import Ranked

BESIDE_SCORE = frozenset({"relevance_span", "truncated_tokens"})
"""The metadata that an adapter adds beside the score, where there is something to say."""


def checked(items: Any, kinds: tuple[type, ...], what: str) -> list[Any]:
    """A collection of a framework's documents, as a list.

    Raises:
        InputError: A single one, not a collection, or an item of another class; it names the item by its index.
    """
    allowed = " or ".join(kind.__name__ for kind in kinds)
    if isinstance(items, str | bytes | Mapping | BaseModel) or not isinstance(items, Iterable):
        raise InputError(f"{what}s is a list of {allowed}, not {type(items).__name__}")
    found = list(items)
    for index, item in enumerate(found):
        if not isinstance(item, kinds):
            raise InputError(f"{what} {index} is a {allowed}, not {type(item).__name__}")
    return found


def beside_score(item: Ranked, before: int | None, length: int) -> dict[str, Any]:
    """What there is to say of a result beside its score: `relevance_span`, and `truncated_tokens` where some were cut.

    Args:
        item: The result.
        before: How many characters stand before the document's own text in what was read; None where that is unknown.
        length: How many characters the document's own text has.
    """
    said: dict[str, Any] = {}
    if item.span is not None and before is not None:
        said["relevance_span"] = [min(max(place - before, 0), length) for place in item.span]
    if item.truncated_tokens:
        said["truncated_tokens"] = item.truncated_tokens
    return said


def with_added(metadata: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy of a document's metadata with more, and without what an earlier reranker said beside its score.

    Raises:
        InputError: The metadata hold something that cannot be copied.
    """
    try:
        kept = copy.deepcopy({key: value for key, value in metadata.items() if key not in BESIDE_SCORE})
    except Exception as error:
        raise InputError(f"a document's metadata cannot be copied: {error}") from error
    return {**kept, **added}
