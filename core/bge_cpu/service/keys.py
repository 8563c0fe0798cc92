"""API keys: read from a file and the environment, compared without telling by the time how much was right."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from pathlib import Path

from bge_cpu.errors import InputError

VARIABLE = "BGE_CPU_API_KEYS"
"""The environment variable that holds keys, separated by commas."""

_LEAST_CHARACTERS = 16


class Keys:
    """The keys that are accepted; several at once, so that one can be replaced while both are in use.

    Args:
        keys: Their texts; none means that every request is let in.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._digests = [_digest(key.encode()) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def accept(self, authorization: bytes) -> bool:
        """Whether an Authorization header, "Bearer KEY" or the key alone, holds one of the keys.

        All are compared, whole, so that the time tells nothing.
        """
        scheme, _, rest = authorization.strip().partition(b" ")
        given = _digest(rest.strip() if scheme.lower() == b"bearer" else authorization.strip())
        found = [hmac.compare_digest(given, digest) for digest in self._digests]
        return not found or any(found)


def read_keys(file: Path | None, environ: Mapping[str, str]) -> Keys:
    """The keys of a file (one a line, # begins a comment) and of the environment.

    Raises:
        InputError: The file cannot be read or holds no key, or a key is too short or no printable ASCII.
    """
    keys = [key.strip() for key in environ.get(VARIABLE, "").split(",") if key.strip()]
    if file is not None:
        try:
            lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the API keys in {file} cannot be read: {type(error).__name__}") from error
        found = [line for line in lines if line and not line.startswith("#")]
        if not found:
            raise InputError(f"{file} holds no API key")
        keys += found
    for key in keys:
        if len(key) < _LEAST_CHARACTERS or not key.isascii() or not key.isprintable() or " " in key:
            raise InputError(
                f"an API key is at least {_LEAST_CHARACTERS} printable ASCII characters without spaces; one is not",
                hint="python -c 'import secrets; print(secrets.token_urlsafe(32))'",
            )
    return Keys(keys)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
