"""What an agent hands to the next one, where that is not as tests/test_service.py has it."""

import socket

import pytest

from spoe_agent.process.succession import Predecessor


async def test_what_an_agent_of_another_version_hands_over_is_refused_in_words():
    estate = b'{"format": 4, "kept": "secret"}'
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(len(estate).to_bytes(8) + (0).to_bytes(8) + estate)
        with pytest.raises(OSError, match=r"of another version \(format: Input should be 5\): restart its unit") as why:
            await Predecessor(ours).take()
    assert "secret" not in str(why.value)
