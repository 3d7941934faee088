"""Status codes of SPOP and the two kinds of protocol error.

Here lives who is to blame and with which code. What a frame looks like does not belong here.

    ProtocolError
    ├── LocalProtocolError     our own mistake: an answer that must not be sent
    └── RemoteProtocolError    the peer's fault, with the status code that tells it so
"""

from enum import IntEnum


class Status(IntEnum):
    """Value of "status-code" in a DISCONNECT frame (SPOE.txt 3.5)."""

    NORMAL = 0
    IO_ERROR = 1
    TIMEOUT = 2
    FRAME_TOO_BIG = 3
    INVALID_FRAME = 4
    VERSION_MISSING = 5
    MAX_FRAME_SIZE_MISSING = 6
    CAPABILITIES_MISSING = 7
    UNSUPPORTED_VERSION = 8
    BAD_MAX_FRAME_SIZE = 9
    FRAGMENTATION_UNSUPPORTED = 10
    INTERLACED_FRAMES = 11
    FRAME_ID_NOT_FOUND = 12
    RESOURCE_ALLOCATION = 13
    UNKNOWN_ERROR = 99

    @property
    def text(self) -> str:
        """The specification's own words for this code."""
        return _TEXT[self]


_TEXT = {
    Status.NORMAL: "normal (no error occurred)",
    Status.IO_ERROR: "I/O error",
    Status.TIMEOUT: "a timeout occurred",
    Status.FRAME_TOO_BIG: "frame is too big",
    Status.INVALID_FRAME: "invalid frame received",
    Status.VERSION_MISSING: "version value not found",
    Status.MAX_FRAME_SIZE_MISSING: "max-frame-size value not found",
    Status.CAPABILITIES_MISSING: "capabilities value not found",
    Status.UNSUPPORTED_VERSION: "unsupported version",
    Status.BAD_MAX_FRAME_SIZE: "max-frame-size too big or too small",
    Status.FRAGMENTATION_UNSUPPORTED: "payload fragmentation is not supported",
    Status.INTERLACED_FRAMES: "invalid interlaced frames",
    Status.FRAME_ID_NOT_FOUND: "frame-id not found (it does not match any referenced frame)",
    Status.RESOURCE_ALLOCATION: "resource allocation error",
    Status.UNKNOWN_ERROR: "an unknown error occurred",
}


class ProtocolError(Exception):
    """Something that SPOP does not allow. Only its two subclasses are raised."""


class LocalProtocolError(ProtocolError):
    """The caller asked for something that must not go on the wire. Nothing was sent, nothing changed."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something invalid.

    `status` is the code to answer it with. The text names places in the frame and never quotes its
    values, which may be private and of any length.
    """

    def __init__(self, status: Status, detail: str) -> None:
        super().__init__(f"{status.text}: {detail}")
        self.status = status


def malformed(detail: str) -> RemoteProtocolError:
    """The error for bytes that cannot be what they claim to be: status 4, "invalid frame received"."""
    return RemoteProtocolError(Status.INVALID_FRAME, detail)
