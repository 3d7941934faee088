"""Frames damaged at random: no exception may escape and nothing may pile up. Seeded, so a failure repeats."""

import random

from spoe_agent.spop import (
    Connection,
    FrameType,
    Message,
    PeerFault,
    encode_ack,
    encode_disconnect,
    encode_notify,
    read_header,
)
from tests.spop.wire import HAPROXY_DISCONNECT, HEALTH_CHECK, HELLO, NOTIFY, framed, opened, raw_frame

FRAMES = 200_000
LIMIT = 4096
SEEDS = (
    NOTIFY,
    encode_notify(2**40, 300, [Message("route", {"model": "m" * 300, "load": None, "size": -1, "": b"\xff"})]),
    encode_notify(7, 1, [Message("a", {"x": True}), Message("b", {})]),
    HELLO,
    HEALTH_CHECK,
    HAPROXY_DISCONNECT,
    encode_ack(1, 1, []),
    raw_frame(77, payload=b"unknown"),
)
# Bytes at which the format changes its mind.
EDGES = b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0f\x10\x11\x65\x66\x67\x7f\x80\xef\xf0\xf8\xff"


def damaged(rng: random.Random) -> bytes:
    frame = bytearray(SEEDS[rng.randrange(len(SEEDS))][4:])
    for _ in range(rng.randrange(4)):
        frame[rng.randrange(len(frame))] = EDGES[rng.randrange(len(EDGES))]
    how = rng.randrange(16)
    if how == 0:
        return rng.randbytes(rng.randrange(1, 64))
    if how == 1:
        return framed(rng.randbytes(rng.randrange(64)))
    if how == 2:
        return rng.randrange(LIMIT + 8).to_bytes(4) + frame
    if how == 3:
        return framed(bytes(frame[: rng.randrange(len(frame))]))
    if how == 4:
        return framed(bytes(frame) + rng.randbytes(rng.randrange(8)))
    return framed(bytes(frame))


def fresh(rng: random.Random) -> Connection:
    return opened(LIMIT) if rng.randrange(4) else Connection(LIMIT)


def test_200_000_damaged_frames():
    rng = random.Random(20_250_301)
    connection = fresh(rng)
    faults = survived = 0
    for _ in range(FRAMES):
        events = connection.receive_data(damaged(rng))
        owed = connection.data_to_send()
        assert len(connection.buffered) < LIMIT + 4
        assert len(owed) <= 2
        fault = next((event for event in events if isinstance(event, PeerFault)), None)
        if fault is None:
            survived += 1
        else:
            faults += 1
            assert events[-1] is fault
            assert owed[-1] == encode_disconnect(FrameType.AGENT_DISCONNECT, fault.status, fault.message)
        for frame in owed:
            assert len(frame) <= 4 + 256 and read_header(frame[4:]).fin
        if connection.closed:
            assert connection.buffered == b""
            connection = fresh(rng)
    # Both ways out must have been taken often, or the damage is not what it is meant to be.
    assert faults > FRAMES // 10
    assert survived > FRAMES // 10
