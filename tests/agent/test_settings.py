"""What an instance really runs with: its process before its behaviour before the file, and what the status says."""

import pytest

from spoe_agent.agent.ending import Ending
from spoe_agent.agent.grant import Grant
from spoe_agent.agent.settings import BELIEVED_S, Settings, Started
from spoe_agent.agent.streams import TRIED_AFTER
from spoe_agent.routing import FleetSpec, InstanceSpec
from spoe_agent.routing.choice import Tier

GIVEN = frozenset({"num_parallel", "max_loaded_models"})


def settings(says=GIVEN, **fields):
    given = {"max_connections": 18, "num_parallel": 3, "max_loaded_models": 6}
    return Settings(FleetSpec((InstanceSpec("g0", **(given | fields), says=frozenset(says)),)))


def real(of, now_s=0.0):
    spec = of.real("g0", now_s)
    return spec.num_parallel, spec.max_loaded_models, spec.max_connections


@pytest.mark.parametrize(
    ("started", "keeps", "expected"),
    [
        (Started(), None, (3, 6, 18)),
        (Started(num_parallel=4), None, (4, 6, 24)),
        (Started(max_loaded_models=9), None, (3, 9, 27)),
        (Started(1, 2), None, (1, 2, 2)),
        (Started(), 4, (3, 4, 12)),
        (Started(), 8, (3, 6, 18)),  # that it kept more than the file says is no proof of a limit
        (Started(max_loaded_models=9), 4, (3, 4, 12)),
    ],
)
def test_what_is_known_of_an_instance(started, keeps, expected):
    of = settings()
    of.started("g0", started)
    if keeps:
        of.keeps("g0", keeps, now_s=0.0)
    assert real(of) == expected


def test_the_file_s_own_limit_of_connections_holds():
    of = settings(says=GIVEN | {"max_connections"})
    of.started("g0", Started(num_parallel=8))
    assert real(of) == (8, 6, 18)


def test_evictions_are_not_believed_for_ever():
    of = settings()
    of.keeps("g0", 3, now_s=0.0)
    assert real(of, BELIEVED_S - 1) == (3, 3, 9)
    assert real(of, BELIEVED_S) == (3, 6, 18)


@pytest.mark.parametrize(("says", "parallel", "expected"), [(GIVEN, 1, 2), (GIVEN, 2, 2), ((), 1, 2), ((), 2, 3)])
def test_more_slots_are_tried_unless_the_file_gives_several(says, parallel, expected):
    of = settings(says, num_parallel=parallel)
    for number in range(TRIED_AFTER):
        grant = Grant(str(number), "g0", "a", 10.0 * number, Tier.LOADED)
        of.ended(grant, Ending(0.1, 5.0, is_whole=True), [], 10.0 * number + 5)
    assert of.real("g0", 1000.0).num_parallel == expected


def test_nobody_knows_the_next_process():
    of = settings()
    of.started("g0", Started(4, 9))
    of.forget("g0")
    assert real(of) == (3, 6, 18)


def test_a_file_that_says_the_same_leaves_what_is_known():
    of = settings()
    of.started("g0", Started(num_parallel=4))
    of.adopt(FleetSpec((InstanceSpec("g0", 7, 3, 6, says=GIVEN), InstanceSpec("g1", 1))))
    assert real(of)[0] == 4
    of.adopt(FleetSpec((InstanceSpec("g0", 7, 2, 6, says=GIVEN),)))
    assert real(of)[0] == 2


def test_who_is_not_in_the_fleet_is_nobody():
    of = settings()
    of.started("gone", Started(4, 4))
    of.keeps("gone", 1, 0.0)
    of.forget("gone")
    assert real(of) == (3, 6, 18)


@pytest.mark.parametrize(
    ("says", "started", "keeps", "expected"),
    [
        (GIVEN, Started(3, 6), None, []),
        ((), Started(4, 9), 2, []),
        (
            GIVEN,
            Started(4),
            None,
            ["num_parallel 3, but its process was started with OLLAMA_NUM_PARALLEL=4: 4 is used"],
        ),
        (
            GIVEN,
            Started(),
            3,
            ["max_loaded_models 6, but it lets models go to keep 3, though memory is left: 3 is used"],
        ),
        (
            GIVEN,
            Started(None, 9),
            None,
            ["max_loaded_models 6, but its process was started with OLLAMA_MAX_LOADED_MODELS=9: 9 is used"],
        ),
    ],
)
def test_where_the_file_is_wrong_is_said(says, started, keeps, expected):
    of = settings(says)
    of.started("g0", started)
    if keeps:
        of.keeps("g0", keeps, 0.0)
    said = [what for _, what in of.differences(0.0)]
    assert len(said) == len(expected)
    for text, part in zip(said, expected, strict=True):
        assert text.startswith(f"g0: the fleet file says {part}; write ")
