"""The layout of a frame, and the two frames of every request: NOTIFY and ACK (SPOE.txt 3.2).

Pure functions for both sides: an agent needs one half, tests and load generators the other. Functions that
encode return a whole frame, length included; functions that read take a frame without its length, as
`FrameBuffer` gives it. Which frame may come when does not belong here.
"""

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from spoe_agent.spop.actions import VarAction, encode_actions
from spoe_agent.spop.errors import malformed
from spoe_agent.spop.messages import Message, encode_messages
from spoe_agent.spop.values import read_varint, varint

# <FRAME-LENGTH:4 bytes> <FRAME-TYPE:1 byte> <FLAGS:4 bytes>, then <STREAM-ID:varint> <FRAME-ID:varint>
_HEAD = Struct(">IBI")
_TYPE_AND_FLAGS = Struct(">BI")
_FIN = 0x1

MIN_MAX_FRAME_SIZE = 256  # SPOE.txt 3.2: "must be greater than or equal to 256 bytes"


class FrameType(IntEnum):
    """SPOE.txt 3.2.2. UNSET continues a fragmented payload."""

    UNSET = 0
    HAPROXY_HELLO = 1
    HAPROXY_DISCONNECT = 2
    NOTIFY = 3
    AGENT_HELLO = 101
    AGENT_DISCONNECT = 102
    ACK = 103


class Header(NamedTuple):
    """What comes before the payload. `type` is a plain number, for unknown types can come."""

    type: int
    flags: int
    stream_id: int
    frame_id: int
    payload_start: int

    @property
    def fin(self) -> bool:
        """The payload ends in this frame. ABORT "can be ignored" on such a frame, and is (SPOE.txt 3.2)."""
        return bool(self.flags & _FIN)


def read_header(frame: bytes) -> Header:
    """Read <FRAME-TYPE> <FLAGS> <STREAM-ID> <FRAME-ID>."""
    if len(frame) < _TYPE_AND_FLAGS.size:
        raise malformed(f"frame of {len(frame)} bytes")
    frame_type, flags = _TYPE_AND_FLAGS.unpack_from(frame)
    stream_id, pos = read_varint(frame, _TYPE_AND_FLAGS.size)
    frame_id, pos = read_varint(frame, pos)
    return Header(frame_type, flags, stream_id, frame_id, pos)


def encode_frame(frame_type: FrameType, stream_id: int, frame_id: int, payload: bytes) -> bytes:
    """Write one unfragmented frame: FIN set and no other flag, as `option spop-check` demands."""
    body = varint(stream_id) + varint(frame_id) + payload
    return _HEAD.pack(_TYPE_AND_FLAGS.size + len(body), frame_type, _FIN) + body


def encode_notify(stream_id: int, frame_id: int, messages: Iterable[Message]) -> bytes:
    """HAProxy's side, and one agent's to another: write a NOTIFY frame."""
    return encode_frame(FrameType.NOTIFY, stream_id, frame_id, encode_messages(messages))


def encode_ack(stream_id: int, frame_id: int, actions: Iterable[VarAction]) -> bytes:
    """Write an ACK frame. `Connection.ack` is the one to use on a connection."""
    return encode_frame(FrameType.ACK, stream_id, frame_id, encode_actions(actions))
