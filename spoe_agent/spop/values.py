"""Variable-length integers, strings and typed values: the atoms of every SPOP payload (SPOE.txt 3.1).

Readers take the whole frame and a position and return what they read with the position after it. Bytes
that end too early or make no sense raise RemoteProtocolError, and nothing else ever escapes. Writers return
bytes and raise LocalProtocolError for what SPOP cannot express. Frames and messages do not belong here.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address

from spoe_agent.spop.errors import LocalProtocolError, malformed

Value = None | bool | int | str | bytes | IPv4Address | IPv6Address
"""A typed value as Python sees it. All four integer types of SPOP are `int`; bool is never an integer."""

# The low nibble of a value's first byte is its type, the high nibble its flags. SPOE.txt 3.1 draws the two
# the other way round; HAProxy's SPOE_DATA_T_MASK is 0x0F. Only BOOL gives the flags a meaning.
TYPE_MASK = 0x0F
TRUE_FLAG = 0x10
NULL, BOOL, INT32, UINT32, INT64, UINT64, IPV4, IPV6, STRING, BINARY = range(10)

_UINT64_MAX = 2**64 - 1
_BAD_UTF8 = "surrogateescape"  # HAProxy passes on whatever bytes a client sent: keep them, never fail on them

_VARINT_1BYTE = tuple(bytes((n,)) for n in range(240))
_STRING_HEAD_1BYTE = tuple(bytes((STRING, n)) for n in range(240))


def read_varint(data: bytes, pos: int) -> tuple[int, int]:
    """Read an unsigned integer of up to 64 bits in the "Peers encoding" of SPOE.txt 3.1."""
    try:
        number = data[pos]
        pos += 1
        if number < 240:
            return number, pos
        shift = 4
        while True:
            byte = data[pos]
            pos += 1
            number += byte << shift
            # A byte that announces another one adds at least 128 << shift, so this also ends the loop.
            if number > _UINT64_MAX:
                raise malformed(f"integer of more than 64 bits before byte {pos}")
            if byte < 128:
                return number, pos
            shift += 7
    except IndexError:
        raise malformed(f"frame ends inside an integer, at byte {pos}") from None


def varint(number: int) -> bytes:
    """Write `number`, 0 to 2^64-1, in the "Peers encoding"."""
    if 0 <= number < 240:
        return _VARINT_1BYTE[number]
    if not 0 <= number <= _UINT64_MAX:
        raise LocalProtocolError(f"{number} is not an unsigned 64-bit integer")
    out = bytearray(((number & 0xFF) | 0xF0,))
    number = (number - 240) >> 4
    while number >= 128:
        out.append((number & 0xFF) | 0x80)
        number = (number - 128) >> 7
    out.append(number)
    return bytes(out)


def read_bytes(data: bytes, pos: int) -> tuple[bytes, int]:
    """Read <LENGTH:varint><BYTES>."""
    # Half of all calls in a NOTIFY end here, nearly always with a length of one byte: spare them a call.
    if pos < len(data) and (length := data[pos]) < 240:
        pos += 1
    else:
        length, pos = read_varint(data, pos)
    end = pos + length
    if end > len(data):
        raise malformed(f"{length} bytes announced at byte {pos} of a frame of {len(data)}")
    return data[pos:end], end


def read_string(data: bytes, pos: int) -> tuple[str, int]:
    """Read a string without type byte, such as a name. Bytes that are not UTF-8 become lone surrogates."""
    raw, pos = read_bytes(data, pos)
    return raw.decode("utf-8", _BAD_UTF8), pos


def string(text: str) -> bytes:
    """Write a string without type byte; the inverse of `read_string`, also for bytes that were not UTF-8."""
    raw = _utf8(text)
    return varint(len(raw)) + raw


def read_value(data: bytes, pos: int) -> tuple[Value, int]:
    """Read one <TYPE:4 bits><FLAGS:4 bits><DATA>. Reserved types are refused."""
    if pos >= len(data):
        raise malformed(f"frame ends before a value, at byte {pos}")
    first = data[pos]
    pos += 1
    kind = first & TYPE_MASK
    if kind == STRING:
        return read_string(data, pos)
    if INT32 <= kind <= UINT64:
        number, pos = read_varint(data, pos)
        return _integer(kind, number), pos
    if kind == NULL:
        return None, pos
    if kind == BOOL:
        return bool(first & TRUE_FLAG), pos
    if kind == BINARY:
        return read_bytes(data, pos)
    return _read_address(data, pos, kind)


def _integer(kind: int, number: int) -> int:
    """The meaning of a varint: negative numbers travel as two's complement, widened to 64 bits."""
    if kind in (INT32, INT64) and number >= 2**63:
        number -= 2**64
    if kind == INT32 and not -(2**31) <= number < 2**31:
        raise malformed("INT32 out of its range")
    if kind == UINT32 and number >= 2**32:
        raise malformed("UINT32 out of its range")
    return number


def _read_address(data: bytes, pos: int, kind: int) -> tuple[IPv4Address | IPv6Address, int]:
    if kind not in (IPV4, IPV6):
        raise malformed(f"reserved value type {kind} before byte {pos}")
    end = pos + (4 if kind == IPV4 else 16)
    if end > len(data):
        raise malformed(f"frame ends inside an address, at byte {len(data)}")
    raw = data[pos:end]
    return (IPv4Address(raw) if kind == IPV4 else IPv6Address(raw)), end


def value(item: Value) -> bytes:
    """Write one typed value. Integers become INT64, as HAProxy itself sends them.

    LocalProtocolError: an integer beyond 64 bits signed (HAProxy would read another number), text with a
    lone surrogate that stands for no byte, or a type that SPOP has not (float, list).
    """
    if isinstance(item, str):
        raw = _utf8(item)
        size = len(raw)
        return (_STRING_HEAD_1BYTE[size] if size < 240 else b"\x08" + varint(size)) + raw
    if item is None:
        return b"\x00"
    if isinstance(item, bool):
        return b"\x11" if item else b"\x01"
    if isinstance(item, int):
        if not -(2**63) <= item < 2**63:
            raise LocalProtocolError(f"{item} does not fit HAProxy's signed 64-bit integers")
        return b"\x04" + varint(item & _UINT64_MAX)
    if isinstance(item, bytes):
        return b"\x09" + varint(len(item)) + item
    if isinstance(item, IPv4Address):
        return b"\x06" + item.packed
    if isinstance(item, IPv6Address):
        return b"\x07" + item.packed
    raise LocalProtocolError(f"SPOP has no type for a {type(item).__name__}; send it as text")


def uint32(number: int) -> bytes:
    """Write a typed UINT32: the type that the specification wants for sizes and status codes."""
    if not 0 <= number < 2**32:
        raise LocalProtocolError(f"{number} is not an unsigned 32-bit integer")
    return b"\x03" + varint(number)


def read_kv_list(data: bytes, pos: int) -> dict[str, Value]:
    """Read the KV-LIST that fills the rest of the frame (SPOE.txt 3.2). Of equal keys the last one counts."""
    pairs: dict[str, Value] = {}
    while pos < len(data):
        key, pos = read_string(data, pos)
        pairs[key], pos = read_value(data, pos)
    return pairs


def kv_list(pairs: Mapping[str, bytes]) -> bytes:
    """Write a KV-LIST from keys and values that are already encoded."""
    return b"".join(string(key) + encoded for key, encoded in pairs.items())


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8", _BAD_UTF8)
    except UnicodeEncodeError as error:
        raise LocalProtocolError(f"text with a lone surrogate at {error.start} has no UTF-8 form") from None
