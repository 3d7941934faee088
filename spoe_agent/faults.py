"""How an exception is written down: its kind, and where it came from.

Never what it says, nor what the code had in hand: keys and prompts may be in both.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import ssl
import sys
import threading
import traceback
from typing import Any, TextIO

import structlog

log = structlog.get_logger()

_AND = {
    "cause": "\nThe above exception was the direct cause of the following exception:\n\n",
    "context": "\nDuring handling of the above exception, another exception occurred:\n\n",
}


def told(error: BaseException) -> str:
    """Return an exception as Python prints it, without its text; those behind it and in it too."""
    return _told(error, set())


def _told(error: BaseException, seen: set[int]) -> str:
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    text = ""
    if before is not None and id(before) not in seen:
        text = _told(before, seen) + _AND["cause" if error.__cause__ else "context"]
    frames = "".join(traceback.format_tb(error.__traceback__))
    text += f"Traceback (most recent call last):\n{frames}{kind(error)}\n"
    for within in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        text += "".join(f"  | {line}\n" for line in _told(within, seen).splitlines())
    return text


def kind(error: BaseException) -> str:
    """Return an exception's name, and of an error of the operating system what its number means."""
    of = type(error)
    name = of.__qualname__ if of.__module__ == "builtins" else f"{of.__module__}.{of.__qualname__}"
    # An ssl.SSLError's number is not the operating system's.
    if not isinstance(error, OSError) or isinstance(error, ssl.SSLError) or not error.errno or error.errno < 0:
        return name
    return f"{name}: {os.strerror(error.errno)}"


in_event = structlog.processors.ExceptionRenderer(lambda info: told(info[1]))
"""Of structlog's processors the one that writes exceptions."""


def for_people(stream: TextIO) -> structlog.dev.ConsoleRenderer:
    """Return what writes lines for people; in colours on a terminal, unless NO_COLOR is set."""
    is_coloured = stream.isatty() and not os.environ.get("NO_COLOR")
    return structlog.dev.ConsoleRenderer(colors=is_coloured, exception_formatter=structlog.dev.plain_traceback)


def log_of_commands() -> None:
    """Have commands without a log of their own write what goes wrong in them."""
    stamp = structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False)
    structlog.configure(processors=[structlog.processors.add_log_level, stamp, in_event, for_people(sys.stdout)])


def hear_all() -> None:
    """Log what would be printed by Python itself: faults in threads and destructors, and the logs of libraries."""
    threading.excepthook = _in_thread
    sys.unraisablehook = _unraisable
    logging.getLogger().handlers = [_Libraries()]


def on_loop(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what only the loop hears of. Its text may end with the callback's arguments."""
    what = re.split(r"[(<]", str(context.get("message", "")))[0].strip()
    task = context.get("task")
    if isinstance(task, asyncio.Task):
        what += f" {getattr(task.get_coro(), '__qualname__', '')}"
    _log(what, context.get("exception"))


def _in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit:
        _log("exception in a thread", args.exc_value)


def _unraisable(args: sys.UnraisableHookArgs) -> None:
    _log("exception where none can be raised", args.exc_value)


def _log(what: str, error: BaseException | None) -> None:
    log.error("something unforeseen went wrong", what=what, **({"exc_info": error} if error else {}))


class _Libraries(logging.Handler):
    """Takes what libraries log; not the values in it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log it as ours."""
        error = record.exc_info[1] if record.exc_info else None
        # structlog knows the usual levels only.
        level = max(logging.DEBUG, min(record.levelno // 10 * 10, logging.CRITICAL))
        log.log(level, str(record.msg), logger=record.name, **({"exc_info": error} if error else {}))
