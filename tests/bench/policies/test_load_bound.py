from __future__ import annotations

import pytest

from bench.policies.load_bound import least_loading
from spoe_agent.simulator.profile import GB
from spoe_agent.simulator.virtual.requests import Request
from tests.simulator.virtual.builders import fleet, request

LOAD_S = 2.0
ONE_PLACE = {"max_loaded_models": 1}
ONE_FITS = {"vram_bytes": 11 * GB}


def asked(*pairs: tuple[float, str]) -> list[Request]:
    return [request(number, at_s, name) for number, (at_s, name) in enumerate(pairs)]


@pytest.mark.parametrize(
    ("requests", "profile", "loads"),
    [
        pytest.param(asked((0, "a")), {}, 1, id="the first load"),
        pytest.param(asked((0, "a"), (0, "b")), {}, 2, id="one per model"),
        pytest.param(asked((0, "a"), (500, "a")), {}, 1, id="it stays"),
        pytest.param(asked((0, "a"), (100, "b"), (200, "a")), ONE_PLACE, 2, id="b needs no place of its own here"),
        pytest.param(asked((0, "a"), (1, "b"), (100, "a"), (101, "b")), ONE_PLACE, 3, id="one place: one goes"),
        pytest.param(asked((0, "a"), (1, "b"), (100, "a"), (101, "b")), ONE_FITS, 3.0, id="room for one: most of one"),
        pytest.param(asked((0, "a"), (1, "b"), (20, "a"), (21, "b")), ONE_PLACE, 2, id="short gaps cost nothing"),
    ],
)
def test_least_loading_by_hand(requests: list[Request], profile: dict[str, object], loads: float) -> None:
    seconds, count = least_loading(requests, fleet(1, **profile))

    assert seconds == pytest.approx(loads * LOAD_S, abs=0.3)
    assert count == pytest.approx(loads)


def test_two_instances_hold_twice_as_much() -> None:
    requests = asked((0, "a"), (1, "b"), (100, "a"), (101, "b"))

    assert least_loading(requests, fleet(2, **ONE_PLACE))[0] == pytest.approx(2 * LOAD_S)
