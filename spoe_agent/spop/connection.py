"""The agent's side of one SPOP connection, without I/O.

Everything that changes the state of a connection is in this file, and a frame is welcome only if `_EXPECTED`
lists its type under the current state. Sockets, clocks, time-outs and logs do not belong here; nor does any
byte of a payload.

    conn = Connection()
    events = conn.receive_data(data)        # 1. bytes in, events out
    for frame in conn.data_to_send():       # 2. what the protocol itself owes, first: AGENT-HELLO precedes any ACK
        transport.write(frame)
    for event in events:                    # 3. answers, unless a DISCONNECT came right behind the question
        if isinstance(event, Notify) and not conn.closed:
            transport.write(conn.ack(event.stream_id, event.frame_id, actions))
    if conn.closed:                         # 4. all is said
        transport.close()
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Self

from spoe_agent.spop.actions import VarAction
from spoe_agent.spop.buffer import FrameBuffer
from spoe_agent.spop.errors import LocalProtocolError, RemoteProtocolError, Status, malformed
from spoe_agent.spop.events import Disconnected, Event, Hello, Notify, PeerFault
from spoe_agent.spop.frames import MIN_MAX_FRAME_SIZE, FrameType, Header, encode_ack, read_header
from spoe_agent.spop.handshake import (
    AgentHello,
    encode_agent_hello,
    encode_disconnect,
    read_disconnect,
    read_haproxy_hello,
)
from spoe_agent.spop.messages import read_messages

# HAProxy announces tune.bufsize - 4: 16 KiB unless raised, so that prompts of megabytes can be inspected. It takes no
# buffer of 256 MiB or more for HTTP.
DEFAULT_MAX_FRAME_SIZE = 256 * 1024 * 1024
# Before the handshake the peer is nobody yet. A HELLO is some 150 bytes.
MAX_HELLO_SIZE = 16 * 1024


class State(Enum):
    """WAIT_HELLO -> OPEN -> CLOSED; never back. CLOSED means: send what is owed, then close the socket."""

    WAIT_HELLO = "waiting for HAPROXY-HELLO"
    OPEN = "open"
    CLOSED = "closed"


class Connection:
    """One connection from HAProxy: bytes in, events out; answers in, bytes out.

    The peer's faults never raise: they become a `PeerFault` event, an AGENT-DISCONNECT frame in
    `data_to_send` and the state CLOSED. Our own mistakes raise LocalProtocolError and change nothing. Any
    other exception is a bug of this package.
    """

    def __init__(self, max_frame_size: int = DEFAULT_MAX_FRAME_SIZE) -> None:
        """`max_frame_size`: the largest frame to accept, in bytes. Keep it above HAProxy's own, because HAProxy
        fills frames up to its own size whatever was negotiated, and fails the request if one is too big.
        """
        if not MIN_MAX_FRAME_SIZE <= max_frame_size < 2**32:
            raise LocalProtocolError(f"max_frame_size {max_frame_size} must be {MIN_MAX_FRAME_SIZE} to 2^32-1")
        self._max_frame_size = max_frame_size
        self._buffer = FrameBuffer(min(max_frame_size, MAX_HELLO_SIZE))
        self._state = State.WAIT_HELLO
        self._owed: list[bytes] = []

    @classmethod
    def resumed(cls, max_frame_size: int) -> Self:
        """Go on with an open connection that another process has had: the handshake is behind it."""
        it = cls(max_frame_size)
        it._buffer.limit = max_frame_size
        it._state = State.OPEN
        return it

    def __repr__(self) -> str:
        return f"<spop.Connection {self._state.value}, {len(self._buffer)} bytes buffered>"

    @property
    def state(self) -> State:
        """The state after everything received so far: it may be ahead of the event being handled."""
        return self._state

    @property
    def closed(self) -> bool:
        """All is said: send what is owed and close the socket. No ACK can be sent any more."""
        return self._state is State.CLOSED

    @property
    def max_frame_size(self) -> int:
        """The largest frame in bytes, its 4 length bytes not counted: ours, then the negotiated one."""
        return self._max_frame_size

    @property
    def buffered(self) -> bytes:
        """Bytes of a frame that is not complete yet; never more than `max_frame_size` + 4."""
        return bytes(self._buffer)

    def receive_data(self, data: bytes) -> list[Event]:
        """Take bytes from the socket and return what they complete. Call `data_to_send` right after it.

        Once closed, whatever comes is dropped: nothing may follow our DISCONNECT (3.2.9).
        """
        events: list[Event] = []
        if self.closed:
            return events
        buffer = self._buffer
        buffer.append(data)
        try:
            while not self.closed and (frame := buffer.next_frame()) is not None:
                event = self._receive_frame(frame)
                if event is not None:
                    events.append(event)
        except RemoteProtocolError as error:
            # SPOE.txt 3.2.9: "If an error occurs, at anytime, [...] a AGENT-DISCONNECT frame is sent".
            events.append(PeerFault(error.status, str(error)))
            self._owed.append(self._close(error.status, str(error)))
        return events

    def receive_eof(self) -> list[Event]:
        """The peer closed or reset the socket. HAProxy drops idle connections so; only half a frame is a fault."""
        cut = not self.closed and len(self._buffer) > 0
        self._state = State.CLOSED
        self._buffer.clear()
        if not cut:
            return []
        return [PeerFault(Status.IO_ERROR, f"{Status.IO_ERROR.text}: connection ended inside a frame")]

    def data_to_send(self) -> list[bytes]:
        """Take the frames that the protocol owes the peer. Write each with a single call.

        HAProxy 3.2 and later drop a connection whose AGENT-HELLO comes in two pieces (haproxy#3478).
        """
        owed, self._owed = self._owed, []
        return owed

    def ack(self, stream_id: int, frame_id: int, actions: Sequence[VarAction]) -> bytes:
        """Return the ACK for a Notify as one bytes object, for one write. ACKs may go out in any order (3.2.1).

        At least one action is demanded: early releases of HAProxy 3.1 never wake a request whose ACK is empty
        (mended by its commit 851e52b55).

        LocalProtocolError: no action, an action that HAProxy would not understand, a frame beyond
        `max_frame_size`, or a connection that is not open. A late answer is normal: look at `closed` first.
        """
        if self._state is not State.OPEN:
            raise LocalProtocolError(f"ACK on a connection that is {self._state.value}: check `closed` first")
        if not actions:
            raise LocalProtocolError("ACK without actions: some HAProxy versions never wake the request; set one")
        return self._fitting(encode_ack(stream_id, frame_id, actions))

    def disconnect(self, status: int, message: str) -> bytes:
        """End the connection and return the AGENT-DISCONNECT. Close the socket after writing it (3.2.9).

        LocalProtocolError: closed already, or the message does not fit a frame.
        """
        if self.closed:
            raise LocalProtocolError("the connection is closed already")
        return self._close(status, message)

    def _receive_frame(self, frame: bytes) -> Event | None:
        header = read_header(frame)
        receive = _EXPECTED[self._state].get(header.type)
        if receive is None:
            self._refuse_unless_unknown(header.type)
            return None
        if not header.fin:
            raise RemoteProtocolError(Status.FRAGMENTATION_UNSUPPORTED, "FIN is not set")
        return receive(self, header, frame)

    def _refuse_unless_unknown(self, frame_type: int) -> None:
        if frame_type == FrameType.UNSET:
            raise RemoteProtocolError(Status.FRAGMENTATION_UNSUPPORTED, "continuation of a fragmented payload")
        # SPOE.txt 3.2.2: "Unknown frames may be silently skipped", but 3.2.4: HELLO "is the first one exchanged".
        if self._state is State.WAIT_HELLO or frame_type in _KNOWN_TYPES:
            raise malformed(f"type {frame_type} on a connection that is {self._state.value}")

    def _receive_hello(self, header: Header, frame: bytes) -> Hello:
        _require_no_stream(header)
        hello = read_haproxy_hello(frame, header.payload_start)
        # SPOE.txt 3.2.4: "the lower value between its maximum size allowed for a frame and the HAProxy one".
        self._max_frame_size = self._buffer.limit = min(self._max_frame_size, hello.max_frame_size)
        self._owed.append(encode_agent_hello(AgentHello(self._max_frame_size)))
        self._state = State.OPEN
        if hello.healthcheck:
            # SPOE.txt 3.2.5: "the agent can safely close the connection without DISCONNECT frame".
            self._forget()
        return hello

    def _receive_notify(self, header: Header, frame: bytes) -> Notify:
        return Notify(header.stream_id, header.frame_id, read_messages(frame, header.payload_start))

    def _receive_disconnect(self, header: Header, frame: bytes) -> Disconnected:
        _require_no_stream(header)
        event = read_disconnect(frame, header.payload_start)
        # SPOE.txt 3.2.8: "HAProxy will wait an AGENT-DISCONNECT frame in reply".
        self._owed.append(self._close(Status.NORMAL, Status.NORMAL.text))
        return event

    def _close(self, status: int, message: str) -> bytes:
        frame = self._fitting(encode_disconnect(FrameType.AGENT_DISCONNECT, status, message))
        self._forget()
        return frame

    def _forget(self) -> None:
        self._state = State.CLOSED
        self._buffer.clear()

    def _fitting(self, frame: bytes) -> bytes:
        size = len(frame) - 4
        if size > self._max_frame_size:
            raise LocalProtocolError(f"frame of {size} bytes, but {self._max_frame_size} were negotiated: shorten it")
        return frame


def _require_no_stream(header: Header) -> None:
    """SPOE.txt 3.2.4, 3.2.8: "STREAM-ID and FRAME-ID are must be set 0"."""
    if header.stream_id or header.frame_id:
        raise malformed("HELLO or DISCONNECT with a stream-id or frame-id")


_Receiver = Callable[[Connection, Header, bytes], Event]

_EXPECTED: dict[State, dict[int, _Receiver]] = {
    State.WAIT_HELLO: {
        FrameType.HAPROXY_HELLO: Connection._receive_hello,
        FrameType.HAPROXY_DISCONNECT: Connection._receive_disconnect,
    },
    State.OPEN: {
        FrameType.NOTIFY: Connection._receive_notify,
        FrameType.HAPROXY_DISCONNECT: Connection._receive_disconnect,
    },
    State.CLOSED: {},
}
_KNOWN_TYPES = frozenset(FrameType)
