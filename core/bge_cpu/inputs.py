"""Step 1 of a call: what callers pass in is checked, before anything is computed; and the defaults of loading."""

import operator
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from bge_cpu.errors import InputError, shown

DEFAULT_MODEL = "BAAI/bge-reranker-v2-m3"
DEFAULT_MAX_LENGTH = 512  # or what the model takes, if that is less
DEFAULT_MIN_FIDELITY = 0.98
"""The defaults of `Reranker.load`, here for all that takes the same options."""

NORMALIZATIONS = ("sigmoid", "softmax")
LONG_DOCUMENTS = ("truncate", "windows")


def check_text(text: Any, what: str) -> str:
    """Any str that UTF-8 can hold.

    Raises:
        InputError: Not a string, or one with lone surrogates.
    """
    if not isinstance(text, str):
        raise InputError(f"{what} is a str, not {type(text).__name__}: {shown(text)}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{what} holds a lone surrogate (U+{ord(text[error.start]):04X} at character {error.start}): it is no text",
            hint='read it with the right encoding, or clean it: text.encode("utf-8", "replace").decode()',
        ) from None
    return str.__str__(text)  # a plain str also for subclasses, whose own __str__ may say something else


def check_query(query: Any, what: str = "query") -> str:
    """A text with something in it.

    Raises:
        InputError: Not a text, or empty.
    """
    text = check_text(query, what)
    if not text.strip():
        raise InputError(f"{what} is empty: {shown(text)}")
    return text


def check_pair(pair: Any, index: int) -> tuple[str, str]:
    """A (query, document) pair, of any kind that has an order and two items; the document may be empty.

    Raises:
        InputError: Not two texts, or an empty query; it names the pair by its index.
    """
    ordered = isinstance(pair, Collection) and not isinstance(pair, str | bytes | Mapping | Set)
    try:
        query, document = pair if ordered else [pair]
    except (TypeError, ValueError):  # not two
        raise InputError(
            f"pair {index} is not (query, document) but {type(pair).__name__}: {shown(pair)}",
            hint="pass a list of pairs, also for a single one: [(query, document)]",
        ) from None
    return check_query(query, f"query of pair {index}"), check_text(document, f"document of pair {index}")


def check_documents(documents: Any) -> list[str]:
    """A collection of texts.

    Raises:
        InputError: A single string, not a collection, or an item that is no text; it names the item by its index.
    """
    if isinstance(documents, str | bytes | Mapping) or not isinstance(documents, Iterable):
        raise InputError(
            f"documents is a list of str, not {type(documents).__name__}: {shown(documents)}",
            hint="a lone document is a list of one: [document]",
        )
    return [check_text(document, f"document {index}") for index, document in enumerate(documents)]


def check_count(value: Any, name: str, *, least: int = 1, most: int | None = None) -> int:
    """A whole number from `least` to `most`.

    Raises:
        InputError: Anything else.
    """
    allowed = f"of at least {least}" if most is None else f"from {least} to {most}"
    try:
        count = operator.index(value)
    except TypeError:
        count = least - 1
    if isinstance(value, bool) or count < least or (most is not None and count > most):
        raise InputError(f"{name} is a whole number {allowed}, not {shown(value)}")
    return count


def fit_max_length(max_length: int | None, limit: int | None, model: str) -> int:
    """The longest pair in tokens: what was asked for; where nothing was, the smaller of 512 and the model's limit.

    Raises:
        InputError: What was asked for is no such number, or more than the model takes.
    """
    if max_length is None:
        return DEFAULT_MAX_LENGTH if limit is None else min(DEFAULT_MAX_LENGTH, limit)
    max_length = check_count(max_length, "max_length")
    if limit is not None and max_length > limit:
        raise InputError(
            f"max_length is {shown(max_length)}; {model} takes at most {limit} tokens",
            hint='longer documents can be read whole: long_documents="windows"',
        )
    return max_length


def check_share(value: Any, name: str) -> float | None:
    """None or a number from 0 to 1.

    Raises:
        InputError: Anything else.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1):
        raise InputError(f"{name} is None or a number from 0 to 1, not {shown(value)}")
    return None if value is None else float(value)


def check_folder(value: Any, name: str) -> Path | None:
    """None or a folder's name, which need not exist; a user's home is spelt out.

    Raises:
        InputError: Anything else.
    """
    try:
        fits = value is None or (isinstance(value, str | Path) and str(value) != "" and "\0" not in str(value))
        if fits:
            return None if value is None else Path(value).expanduser()
    except RuntimeError:  # the home of a user that there is not
        pass
    raise InputError(f"{name} is None or a folder's name, not {shown(value)}")


def check_normalize(normalize: Any, allowed: Sequence[str] = NORMALIZATIONS) -> None:
    """Accept None or one of the allowed names.

    Raises:
        InputError: Anything else.
    """
    if normalize is not None and normalize not in allowed:
        raise InputError(f"normalize is None or one of {', '.join(map(repr, allowed))}, not {shown(normalize)}")


def check_long_documents(long_documents: Any) -> None:
    """Accept one of the two ways.

    Raises:
        InputError: Anything else.
    """
    if long_documents not in LONG_DOCUMENTS:
        raise InputError(f"long_documents is {' or '.join(map(repr, LONG_DOCUMENTS))}, not {shown(long_documents)}")
