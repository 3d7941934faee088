"""What several modules of tests share: the agent's addresses."""

import pytest

from spoe_agent.fleet import Listen
from spoe_agent.rig.process import free_port
from tests.serving import unix


@pytest.fixture(params=["unix", "tcp"])
def address(request, tmp_path):
    """An address for an agent, of either kind."""
    return unix(tmp_path) if request.param == "unix" else Listen("127.0.0.1", free_port())
