"""The core's log as lines of the host program's own (Python's logging)."""

from __future__ import annotations

import logging
import re

import structlog

from spoe_agent import faults

OTHERS = ("mitmproxy.addonmanager", "mitmproxy.master", "asyncio")
WRITERS = (*OTHERS, "spoe_agent.mitmproxy.hooks")
"""Loggers that write exceptions of ours."""


def send_to_logging() -> None:
    """Hand what the core logs, from INFO on, to the root of Python's logging."""
    structlog.configure(
        processors=[faults.in_event, _line],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    for name in WRITERS:
        logging.getLogger(name).addFilter(_without_values)


def _without_values(record: logging.LogRecord) -> bool:
    """Take out of a record what an exception says, and what asyncio's loop has in hand: a request may be in both."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None or (record.levelno >= logging.ERROR and record.name in OTHERS):
        what = re.split("[:\n]", record.getMessage())[0]
        record.msg = what if error is None else f"{what}\n{faults.told(error)}"
        record.args, record.exc_info, record.exc_text = (), None, None
    return True


def _line(_: object, __: str, event: structlog.typing.EventDict) -> str:
    text = str(event.pop("event"))
    return " ".join([text, *(f"{name}={value}" for name, value in event.items())])
