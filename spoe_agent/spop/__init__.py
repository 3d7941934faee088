"""SPOP, the wire protocol between HAProxy and its offload agents, without I/O. See `Connection`.

Knows nothing of models, routing or asyncio and imports nothing of the project but itself.
The specification is HAProxy's doc/SPOE.txt, section 3; "SPOE.txt 3.x" in this package points there.
"""

from spoe_agent.spop.actions import Scope, SetVar, UnsetVar, VarAction, read_actions
from spoe_agent.spop.buffer import FrameBuffer
from spoe_agent.spop.connection import Connection, State
from spoe_agent.spop.errors import LocalProtocolError, ProtocolError, RemoteProtocolError, Status
from spoe_agent.spop.events import Disconnected, Event, Hello, Notify, PeerFault
from spoe_agent.spop.frames import FrameType, Header, encode_ack, encode_notify, read_header
from spoe_agent.spop.handshake import (
    AgentHello,
    encode_disconnect,
    encode_haproxy_hello,
    read_agent_hello,
    read_disconnect,
)
from spoe_agent.spop.messages import Message
from spoe_agent.spop.values import Value

__all__ = [
    "AgentHello",
    "Connection",
    "Disconnected",
    "Event",
    "FrameBuffer",
    "FrameType",
    "Header",
    "Hello",
    "LocalProtocolError",
    "Message",
    "Notify",
    "PeerFault",
    "ProtocolError",
    "RemoteProtocolError",
    "Scope",
    "SetVar",
    "State",
    "Status",
    "UnsetVar",
    "Value",
    "VarAction",
    "encode_ack",
    "encode_disconnect",
    "encode_haproxy_hello",
    "encode_notify",
    "read_actions",
    "read_agent_hello",
    "read_disconnect",
    "read_header",
]
