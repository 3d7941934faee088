"""What `Connection.receive_data` reports: one small frozen type per thing that can happen.

Only types live here. How they are read from bytes and what is answered do not.
"""

from dataclasses import dataclass

from spoe_agent.spop.errors import Status
from spoe_agent.spop.messages import Message


@dataclass(frozen=True, slots=True)
class Hello:
    """HAProxy opened the connection and was answered (SPOE.txt 3.2.4).

    `max_frame_size` is HAProxy's own, in bytes; what holds on this connection is `Connection.max_frame_size`.
    With `healthcheck` the connection is closed already: send what is owed, then close the socket.
    """

    max_frame_size: int
    capabilities: tuple[str, ...] = ()
    engine_id: str | None = None
    healthcheck: bool = False


@dataclass(frozen=True, slots=True)
class Notify:
    """HAProxy asks; answer with `Connection.ack` and the same two ids, which mean nothing to an agent.

    On HAProxy 3.0 and older `stream_id` can be 0.
    """

    stream_id: int
    frame_id: int
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Disconnected:
    """HAProxy ends the connection (SPOE.txt 3.2.8). `status` is a `Status` or a code of HAProxy's own."""

    status: int
    message: str


@dataclass(frozen=True, slots=True)
class PeerFault:
    """The peer broke the protocol and has been told so with `status`; the connection is closed.

    `message` says what was wrong and where, without quoting the peer's values: it is safe to log.
    """

    status: Status
    message: str


Event = Hello | Notify | Disconnected | PeerFault
