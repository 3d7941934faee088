from __future__ import annotations

from dataclasses import replace

from spoe_agent.simulator.profile import GB
from spoe_agent.simulator.virtual.front import Front
from tests.simulator.virtual.builders import PROFILE, front_of, model, record


def test_a_server_without_limit_takes_everything() -> None:
    front = front_of([None])

    assert all(front.admit(record(number), 0) for number in range(50))
    assert front.served == [50]


def test_a_full_server_queues_its_own_and_serves_in_order() -> None:
    front = front_of([1, 1])
    first, second, third = record(1), record(2), record(3)

    assert [front.admit(one, 0) for one in (first, second, third)] == [True, False, False]
    assert front.served == [1, 0] and front.inflight(0) == 3
    assert front.release(0) is second and second.server == 0
    assert front.release(0) is third
    assert front.release(0) is None
    assert front.served == [0, 0]


def test_a_server_with_room_does_not_take_from_anothers_queue() -> None:
    front = front_of([1, 1])
    front.admit(record(1), 0)
    front.admit(record(2), 1)
    front.admit(record(3), 0)

    assert front.release(1) is None
    assert front.served == [1, 0]


def test_of_both_queues_the_oldest_comes_first() -> None:
    front = front_of([1])
    front.admit(record(1), 0)
    own, central = record(2), record(3)
    front.central.append(central)
    front.admit(own, 0)

    assert front.release(0) is own
    assert front.release(0) is central and central.server == 0


def test_a_server_that_is_down_is_not_chosen_and_its_queue_goes_elsewhere() -> None:
    front = front_of([1, 1])
    first, second, third = record(1), record(2), record(3)
    for one in (first, second, third):
        front.admit(one, 0)

    assert front.mark(0, False) == [second, third]
    assert list(front.servers) == [1] and front.is_up == [False, True]
    assert second.server is None and not front.waiting[0] and front.served == [1, 0]
    front.central.append(second)
    assert front.release(0) is None


def test_a_server_that_is_up_again_takes_what_it_has_room_for() -> None:
    front = front_of([2, 1])
    front.mark(0, False)
    waiting = [record(number) for number in range(3)]
    front.central.extend(waiting)

    assert front.mark(0, True) == waiting[:2]
    assert front.served == [2, 0] and list(front.central) == waiting[2:]


def test_one_may_be_passed_over_for_a_moment() -> None:
    front = front_of([None, None, None])
    with front.without(1):
        assert list(front.servers) == [0, 2]

    assert list(front.servers) == [0, 1, 2]


def test_who_leaves_a_queue_is_gone_from_it() -> None:
    front = front_of([1])
    front.admit(record(1), 0)
    own, central, running = record(2), record(3), record(4)
    front.admit(own, 0)
    front.central.append(central)
    running.server = 0

    assert front.leave(own) and front.leave(central) and not front.leave(running)
    assert front.inflight(0) == 1 and not front.central


def test_a_server_takes_from_the_backends_queue_only_what_it_can_hold() -> None:
    front = Front([1, 1], (PROFILE, replace(PROFILE, vram_bytes=48 * GB)))
    large, small = record(1, at_s=1.0), record(2, at_s=2.0)
    large.request = replace(large.request, work=replace(large.request.work, model=model("large", 30)))
    front.served = [1, 1]
    front.central.extend((large, small))

    assert (front.able(large.request.work.model), front.able(small.request.work.model)) == ([1], [0, 1])
    assert front.release(0) is small
    assert front.release(0) is None
    assert front.release(1) is large
