"""The core's log as lines of the host program's own (Python's logging)."""

from __future__ import annotations

import logging

import structlog


def send_to_logging() -> None:
    """Hand what the core logs, from INFO on, to the root of Python's logging."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info, _line],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def _line(_: object, __: str, event: structlog.typing.EventDict) -> str:
    text = str(event.pop("event"))
    return " ".join([text, *(f"{name}={value}" for name, value in event.items())])
