from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.policies.bounded_hash import TUNED, USUAL, BoundedHash, Ring
from spoe_agent.simulator.virtual.front import Front
from tests.simulator.virtual.builders import front_of, request


def idle(servers: int) -> Front:
    return front_of([None] * servers)


def home(policy: BoundedHash, name: str, servers: int) -> int:
    server = policy.route(request(0, name=name), idle(servers), 0.0)
    assert isinstance(server, int)
    return server


def test_a_model_goes_home_while_the_fleet_is_idle() -> None:
    policy = BoundedHash(4, salt=0)

    assert len({home(policy, "a", 4) for _ in range(5)}) == 1


def test_salts_move_models_about() -> None:
    assert len({home(BoundedHash(4, salt), "a", 4) for salt in range(20)}) == 4


def test_most_models_stay_when_a_server_is_added() -> None:
    names = [f"model-{number}" for number in range(100)]
    moved = sum(home(BoundedHash(4, 0), name, 4) != home(BoundedHash(5, 0), name, 5) for name in names)

    assert moved < 50


def test_while_a_server_is_down_its_models_go_round_to_others() -> None:
    policy, front = BoundedHash(4, salt=0), idle(4)
    names = [f"model-{number}" for number in range(100)]
    before = {name: home(policy, name, 4) for name in names}
    front.mark(2, False)
    after = {name: policy.route(request(0, name=name), front, 0.0) for name in names}

    assert all(after[name] == before[name] for name in names if before[name] != 2)
    assert {after[name] for name in names if before[name] == 2} == {0, 1, 3}


def test_more_points_spread_models_more_evenly() -> None:
    def most(ring: Ring) -> int:
        homes = [BoundedHash(4, 0, ring).route(request(0, name=f"m{n}"), idle(4), 0.0) for n in range(200)]
        return max(Counter(homes).values())

    assert most(Ring(points=160)) < most(Ring(points=4))


def test_many_models_are_spread() -> None:
    policy = BoundedHash(4, salt=0)
    homes = Counter(home(policy, f"model-{number}", 4) for number in range(200))

    assert set(homes) == {0, 1, 2, 3}


@pytest.mark.parametrize("ring", [USUAL, TUNED])
@given(st.integers(1, 8), st.lists(st.sampled_from("abcd"), max_size=60))
def test_no_server_exceeds_its_part_of_the_bound(ring: Ring, servers: int, names: list[str]) -> None:
    policy, front = BoundedHash(servers, 1, Ring(ring.balance_factor, points=16)), idle(servers)
    for number, name in enumerate(names):
        server = policy.route(request(number, name=name), front, 0.0)
        assert isinstance(server, int)
        front.served[server] += 1

        slots = -(-sum(front.served) * ring.balance_factor // 100)
        assert front.served[server] <= -(-slots // servers)
