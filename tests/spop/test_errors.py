import pytest

from spoe_agent.spop import LocalProtocolError, ProtocolError, RemoteProtocolError, Status

# SPOE.txt 3.5
CODES = [
    (0, "normal (no error occurred)"),
    (1, "I/O error"),
    (2, "a timeout occurred"),
    (3, "frame is too big"),
    (4, "invalid frame received"),
    (5, "version value not found"),
    (6, "max-frame-size value not found"),
    (7, "capabilities value not found"),
    (8, "unsupported version"),
    (9, "max-frame-size too big or too small"),
    (10, "payload fragmentation is not supported"),
    (11, "invalid interlaced frames"),
    (12, "frame-id not found (it does not match any referenced frame)"),
    (13, "resource allocation error"),
    (99, "an unknown error occurred"),
]


def test_every_status_has_the_words_of_the_specification():
    assert [(int(status), status.text) for status in Status] == CODES


def test_a_remote_error_carries_its_status_and_says_what_and_where():
    error = RemoteProtocolError(Status.INVALID_FRAME, "at byte 7")
    assert error.status is Status.INVALID_FRAME
    assert str(error) == "invalid frame received: at byte 7"


@pytest.mark.parametrize("kind", [LocalProtocolError, RemoteProtocolError])
def test_both_kinds_are_protocol_errors(kind):
    assert issubclass(kind, ProtocolError)
