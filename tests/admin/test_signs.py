"""What speaks against an instance, in words."""

import pytest

from spoe_agent.admin.signs import Grade, Sign, of_health
from spoe_agent.agent.unserved import LATELY_S, Lately
from spoe_agent.fleet import HealthPolicy
from spoe_agent.instances.health import InstanceHealth
from spoe_agent.routing.names import canonical

A = canonical("a")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (None, []),
        (Lately(1, A, 103.0), ["1 request broke off lately, the last of a:latest 2 s ago"]),
        (Lately(3, A, 105.0), ["3 requests broke off lately, the last of a:latest 0 s ago"]),
        (Lately(3, A, 105.0 - LATELY_S), []),
    ],
)
def test_what_broke_off_is_said_for_a_while_although_it_is_up(broken, said):
    health = InstanceHealth("g0", HealthPolicy(), 100.0)
    health.served(101.0)
    health.broken = broken
    assert of_health(health, 105.0) == [Sign(Grade.DOUBT, what) for what in said]
