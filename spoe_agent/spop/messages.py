"""The payload of a NOTIFY frame: a LIST-OF-MESSAGES (SPOE.txt 3.2 and 3.2.6).

Here lives the one loop that runs for every argument of every request. What the arguments mean does not
belong here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from spoe_agent.spop.errors import LocalProtocolError, malformed
from spoe_agent.spop.values import Value, read_string, read_value, string, value

# An empty message takes two bytes on the wire and a hundred times that in memory. HAProxy sends one message per
# "spoe-message" of the event or group; nobody writes a thousand of those.
MAX_MESSAGES = 1024


@dataclass(frozen=True, slots=True)
class Message:
    """One "spoe-message" and its arguments by name.

    Arguments without a name share the key "", where the last one counts: give every argument a name. An
    argument that HAProxy could not compute is None.
    """

    name: str
    args: Mapping[str, Value]


def read_messages(data: bytes, pos: int) -> tuple[Message, ...]:
    """Read the messages that fill the rest of the frame; none is allowed.

    The count of arguments is one byte and each takes two bytes at least, so the work is bounded by what came.
    """
    messages: list[Message] = []
    end = len(data)
    while pos < end:
        name, pos = read_string(data, pos)
        if pos == end:
            raise malformed("frame ends before a message's count of arguments")
        count = data[pos]
        pos += 1
        args: dict[str, Value] = {}
        for _ in range(count):
            key, pos = read_string(data, pos)
            args[key], pos = read_value(data, pos)
        if len(messages) == MAX_MESSAGES:
            raise malformed(f"more than {MAX_MESSAGES} messages in one frame")
        messages.append(Message(name, args))
    return tuple(messages)


def encode_messages(messages: Iterable[Message]) -> bytes:
    """Write a LIST-OF-MESSAGES; the inverse of `read_messages`."""
    parts: list[bytes] = []
    for message in messages:
        if len(message.args) > 255:
            raise LocalProtocolError(f"message {message.name!r} has {len(message.args)} arguments; 255 fit")
        parts += (string(message.name), bytes((len(message.args),)))
        for key, item in message.args.items():
            parts += (string(key), value(item))
    return b"".join(parts)
