"""What all tests share: the agent's addresses, and that no property is held against the clock."""

import pytest
from hypothesis import settings

from spoe_agent.fleet import Listen
from spoe_agent.rig.process import free_port
from tests.serving import unix

# A busy machine takes longer, and is no counterexample.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(params=["unix", "tcp"])
def address(request, tmp_path):
    """An address for an agent, of either kind."""
    return unix(tmp_path) if request.param == "unix" else Listen("127.0.0.1", free_port())
