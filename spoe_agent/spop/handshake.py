"""The frames that open and end a connection: HELLO and DISCONNECT of both sides (SPOE.txt 3.2.4 to 3.2.9).

Pure functions between payloads and types.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from spoe_agent.spop.errors import RemoteProtocolError, Status, malformed
from spoe_agent.spop.events import Disconnected, Hello
from spoe_agent.spop.frames import MIN_MAX_FRAME_SIZE, FrameType, encode_frame
from spoe_agent.spop.values import Value, kv_list, read_kv_list, uint32, value

VERSION = "2.0"
_MAJOR = VERSION.split(".")[0]
CAPABILITIES = ("pipelining",)
"""What the agent can do. Never "fragmentation" (HAProxy would send fragments) nor "async"."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class AgentHello:
    """The agent's half of the handshake (SPOE.txt 3.2.5). `max_frame_size` in bytes."""

    max_frame_size: int
    version: str = VERSION
    capabilities: tuple[str, ...] = CAPABILITIES


# HAProxy opens connections by the thousand, all with the same hello.
@lru_cache(maxsize=64)
def read_haproxy_hello(frame: bytes, pos: int) -> Hello:
    """Read the payload of HAPROXY-HELLO.

    RemoteProtocolError: 5, 6 or 7 for a missing key, 8 if version 2.0 is not on offer, 9 for a size no frame
    can have, 4 for a value of the wrong type. Unknown keys and capabilities are ignored.
    """
    pairs = read_kv_list(frame, pos)
    versions = _need(pairs, "supported-versions", str, Status.VERSION_MISSING)
    if not any(_includes_ours(version) for version in _comma_list(versions)):
        raise RemoteProtocolError(Status.UNSUPPORTED_VERSION, f"version {VERSION} is not among those offered")
    max_frame_size = _need(pairs, "max-frame-size", int, Status.MAX_FRAME_SIZE_MISSING)
    if not MIN_MAX_FRAME_SIZE <= max_frame_size < 2**32:
        raise RemoteProtocolError(Status.BAD_MAX_FRAME_SIZE, f"{max_frame_size} bytes")
    capabilities = _need(pairs, "capabilities", str, Status.CAPABILITIES_MISSING)
    return Hello(
        max_frame_size,
        _comma_list(capabilities),
        _typed("engine-id", pairs["engine-id"], str) if "engine-id" in pairs else None,
        _typed("healthcheck", pairs.get("healthcheck", False), bool),
    )


def encode_haproxy_hello(hello: Hello) -> bytes:
    """HAProxy's side: write HAPROXY-HELLO with the keys in HAProxy's order."""
    pairs = {
        "supported-versions": value(VERSION),
        "max-frame-size": uint32(hello.max_frame_size),
        "capabilities": value(",".join(hello.capabilities)),
    }
    if hello.healthcheck:
        pairs["healthcheck"] = value(True)
    if hello.engine_id is not None:
        pairs["engine-id"] = value(hello.engine_id)
    return encode_frame(FrameType.HAPROXY_HELLO, 0, 0, kv_list(pairs))


def read_agent_hello(frame: bytes, pos: int) -> AgentHello:
    """HAProxy's side: read the payload of AGENT-HELLO; all three keys are mandatory."""
    pairs = read_kv_list(frame, pos)
    return AgentHello(
        version=_need(pairs, "version", str, Status.VERSION_MISSING),
        max_frame_size=_need(pairs, "max-frame-size", int, Status.MAX_FRAME_SIZE_MISSING),
        capabilities=_comma_list(_need(pairs, "capabilities", str, Status.CAPABILITIES_MISSING)),
    )


@lru_cache(maxsize=64)
def encode_agent_hello(hello: AgentHello) -> bytes:
    """Write AGENT-HELLO."""
    pairs = {
        "version": value(hello.version),
        "max-frame-size": uint32(hello.max_frame_size),
        "capabilities": value(",".join(hello.capabilities)),
    }
    return encode_frame(FrameType.AGENT_HELLO, 0, 0, kv_list(pairs))


def read_disconnect(frame: bytes, pos: int) -> Disconnected:
    """Read the payload of HAPROXY-DISCONNECT or AGENT-DISCONNECT; both keys are mandatory (3.2.8, 3.2.9)."""
    pairs = read_kv_list(frame, pos)
    return Disconnected(
        _need(pairs, "status-code", int, Status.INVALID_FRAME),
        _need(pairs, "message", str, Status.INVALID_FRAME),
    )


def encode_disconnect(frame_type: FrameType, status: int, message: str) -> bytes:
    """Write HAPROXY-DISCONNECT or AGENT-DISCONNECT, which differ in their frame type only."""
    pairs = {"status-code": uint32(status), "message": value(message)}
    return encode_frame(frame_type, 0, 0, kv_list(pairs))


def _need(pairs: Mapping[str, Value], key: str, kind: type[_T], missing: Status) -> _T:
    if key not in pairs:
        raise RemoteProtocolError(missing, f'no "{key}"')
    return _typed(key, pairs[key], kind)


def _typed(key: str, item: Value, kind: type[_T]) -> _T:
    # bool is an int to Python, but a BOOL is no size: hence the exact type.
    if type(item) is not kind:
        raise malformed(f'"{key}" has the wrong type')
    return item


def _comma_list(text: str) -> tuple[str, ...]:
    """SPOE.txt 3.2.4: "comma-separated list", "spaces must be ignored, if any"."""
    return tuple(item for item in text.replace(" ", "").split(",") if item)


def _includes_ours(version: str) -> bool:
    """SPOE.txt 3.2.4: who announces 2.x supports 2.0 to 2.x."""
    major, _, minor = version.partition(".")
    return major == _MAJOR and minor.isascii() and minor.isdigit()
