"""How the service says no: one line of its own words, never a word of the request."""

import math
from typing import Any

from starlette.responses import JSONResponse

_TEI_TYPES = {"overloaded": "Overloaded", "internal": "Backend", "timeout": "Timeout", "unauthorized": "Unauthorized"}
"""Kinds of errors, as text-embeddings-inference names them; it calls the others "Validation"."""

_STATUS_KINDS = {400: "invalid", 404: "not_found", 405: "not_found", 413: "too_large", 422: "invalid"}


class Refused(Exception):
    """A request is not served.

    Args:
        status: The HTTP status.
        message: Why, in one line.
        kind: What it is counted as; None derives it from the status.
        headers: Headers of the answer.
    """

    def __init__(
        self, status: int, message: str, *, kind: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind or _STATUS_KINDS.get(status, "invalid" if status < 500 else "internal")
        self.headers = headers or {}

    def answer(self, path: str) -> JSONResponse:
        """The answer as clients of a path expect it: `message` is Cohere's; /rerank has TEI's two fields as well."""
        content: dict[str, Any] = {"message": self.message}
        if path == "/rerank":
            content |= {"error": self.message, "error_type": _TEI_TYPES.get(self.kind, "Validation")}
        return JSONResponse(content, self.status, headers=self.headers)


def too_large(message: str) -> Refused:
    """More than a limit of the service allows; it would be no better later."""
    return Refused(413, message, kind="too_large")


def overloaded(seconds: float) -> Refused:
    """No room now.

    Args:
        seconds: When there will be room again, as far as can be told; the client is told 1 to 60.
    """
    after = min(60, max(1, math.ceil(seconds)))
    return Refused(429, "the queue is full; try again later", kind="overloaded", headers={"Retry-After": str(after)})
