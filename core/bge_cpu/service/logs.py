"""Logs on stderr, one line each, for people or as JSON. Texts of requests are not in them unless asked for."""

import json
import logging
import time
import traceback
from typing import Any

requests = logging.getLogger("bge_cpu.service")


def config(style: str) -> dict[str, Any]:
    """What `logging.config.dictConfig` takes, for "console" or "json"; uvicorn applies it in every process."""
    own = {"handlers": ["stderr"], "level": "INFO", "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": f"bge_cpu.service.logs.{style.capitalize()}Formatter"}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"},
        },
        "loggers": {"bge_cpu.service": own, "bge_cpu.quantization": own, "uvicorn": own},
    }


class JsonFormatter(logging.Formatter):
    """A JSON object a line: time, level, message, and the fields of a request."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {"time": _time(record), "level": record.levelname.lower(), "message": record.getMessage()}
        return json.dumps(line | getattr(record, "fields", {}), ensure_ascii=True, default=str)


class ConsoleFormatter(logging.Formatter):
    """Time, level, message, and the fields as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields = getattr(record, "fields", {})
        shown = " ".join(f"{name}={json.dumps(value, default=str)}" for name, value in fields.items())
        return f"{_time(record)} {record.levelname.lower():7} {record.getMessage()} {shown}".rstrip()


def failure(error: BaseException, *, texts: bool) -> dict[str, Any]:
    """The fields that describe an error; its message, which may hold texts of a request, only where asked for."""
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    fields: dict[str, Any] = {"error": type(error).__name__, "at": places[-8:]}
    return fields | {"reason": str(error)} if texts else fields


def _time(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03}Z"
