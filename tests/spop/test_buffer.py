from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoe_agent.spop import FrameBuffer, RemoteProtocolError, Status
from tests.spop.wire import framed


def drain(buffer):
    return list(iter(buffer.next_frame, None))


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(0, 300), max_size=8))
def test_frames_do_not_depend_on_how_the_stream_is_cut(frames, cuts):
    stream = b"".join(map(framed, frames))
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    buffer, got = FrameBuffer(40), []
    for start, end in pairwise(edges):
        buffer.append(stream[start:end])
        got += drain(buffer)
        assert len(buffer) < 44
    assert got == frames
    assert len(buffer) == 0


def test_a_frame_of_the_limit_passes_and_a_longer_one_is_refused_from_its_length_alone():
    buffer = FrameBuffer(40)
    buffer.append(framed(bytes(40)) + (41).to_bytes(4))
    assert buffer.next_frame() == bytes(40)
    with pytest.raises(RemoteProtocolError) as caught:
        buffer.next_frame()
    assert caught.value.status is Status.FRAME_TOO_BIG


def test_clear_forgets():
    buffer = FrameBuffer(40)
    buffer.append(b"\x00\x00")
    buffer.clear()
    assert len(buffer) == 0
    buffer.append(framed(b"x"))
    assert drain(buffer) == [b"x"]
