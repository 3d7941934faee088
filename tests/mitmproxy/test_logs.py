import logging

import pytest
import structlog

from spoe_agent.mitmproxy.logs import WRITERS, send_to_logging


@pytest.fixture
def log():
    send_to_logging()
    yield structlog.get_logger()
    structlog.reset_defaults()


def test_events_become_lines(log, caplog):
    caplog.set_level(logging.DEBUG)
    log.debug("not shown")
    log.warning("instance does not answer", instance="gpu0", why="refused")
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (
        "WARNING",
        "instance does not answer instance=gpu0 why=refused",
    )


def test_errors_come_with_their_traceback(log, caplog):
    try:
        raise ValueError("a " + "prompt")
    except ValueError:
        log.exception("failed")
    assert "in test_errors_come_with_their_traceback" in caplog.text
    assert "ValueError" in caplog.text
    assert "a prompt" not in caplog.text


@pytest.mark.parametrize("writer", WRITERS)
def test_what_mitmproxy_writes_of_our_faults_has_no_values(log, caplog, writer):
    """Its texts repeat the exception's, or asyncio's objects."""
    try:
        raise ValueError("a " + "prompt")
    except ValueError as error:
        logging.getLogger(writer).error(f"Addon error: {error}", exc_info=error)
    logging.getLogger("mitmproxy.master").error("Unhandled asyncio error: {'future': a " + "prompt}")
    first, second = caplog.records
    assert first.getMessage().startswith("Addon error\nTraceback (most recent call last):\n")
    assert second.getMessage() == "Unhandled asyncio error"
    assert "a prompt" not in caplog.text
