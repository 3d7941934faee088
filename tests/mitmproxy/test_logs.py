import logging

import pytest
import structlog

from spoe_agent.mitmproxy.logs import send_to_logging


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
        raise ValueError("odd")
    except ValueError:
        log.exception("failed")
    assert "ValueError: odd" in caplog.text
