from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from spoe_agent.routing.hold import MAX_IDLE, OVERDUE, HoldQueue, Ticket, lane
from spoe_agent.routing.wishes import Wishes
from tests.routing.builders import A, B, C, asks, counts, untimed


def ticket(
    request_id="r", caller="x", model=A, since_s=0.0, service_s=1.0, priority=0, num_ctx=None, hold_s=60.0, wait_s=None
):
    facts = asks(model, request_id=request_id, caller=caller, num_ctx=num_ctx, wishes=Wishes(wait_s=wait_s))
    return Ticket(facts, since_s, service_s, hold_s, priority)


def queue(*tickets, weights=None):
    it = HoldQueue(weights)
    for one in tickets:
        it.add(one)
    return it


def ids(tickets):
    return [one.facts.request_id for one in tickets]


def serve(it, number=10**6, blocked=()):
    """Who gets a slot, in order, when there are so many and none in some lanes."""
    left = [number]

    def grant(one):
        if one.lane in blocked or not left[0]:
            return None
        left[0] -= 1
        return one.facts.request_id

    granted = it.take(grant)
    assert [got for _, got in granted] == ids(one for one, _ in granted)
    return [got for _, got in granted]


LANES = [
    (asks(A), asks(A, request_id="other", caller="y", prefix="p"), True),
    (asks(A), asks(B), False),
    (asks(A, num_ctx=4096), asks(A, num_ctx=4096), True),
    (asks(A, num_ctx=4096), asks(A, num_ctx=8192), False),
    (asks(A, num_ctx=4096), asks(A), False),
    (asks(None), asks(None), True),
    (asks(A, servers={"g0": counts(1)}), asks(A, servers={"g0": counts(2)}), True),
    (asks(A, servers={"g0": counts()}), asks(A, servers={"g0": counts(), "g1": counts()}), False),
]


@pytest.mark.parametrize(("one", "other", "same"), LANES)
def test_who_waits_for_the_same_slots(one, other, same):
    assert (lane(one) == lane(other)) is same
    assert Ticket(one, 0.0, 1.0, 60.0).lane == lane(one)


ORDERS = {
    # tickets as they came -> ids as they are served
    "nobody": ([], []),
    "by age": ([ticket("1"), ticket("2", since_s=1), ticket("3", since_s=2)], ["1", "2", "3"]),
    "by class, whatever their age": (
        [ticket("1", priority=5), ticket("2", since_s=1), ticket("3", since_s=2, priority=-5)],
        ["3", "2", "1"],
    ),
    "by turns between callers": (
        [*(ticket(f"x{i}", since_s=i) for i in range(3)), *(ticket(f"y{i}", "y", since_s=9 + i) for i in range(3))],
        ["x0", "y0", "x1", "y1", "x2", "y2"],
    ),
    "long requests count for more": (
        [*(ticket(f"x{i}", service_s=2.0) for i in range(2)), *(ticket(f"y{i}", "y") for i in range(4))],
        ["x0", "y0", "y1", "x1", "y2", "y3"],
    ),
    "by age across a caller's lanes": (
        [ticket("1", model=A), ticket("2", model=B, since_s=1), ticket("3", model=A, since_s=2)],
        ["1", "2", "3"],
    ),
    "classes do not share fairly between each other": (
        [ticket("1"), ticket("2"), ticket("3", "y", priority=1), ticket("4", "y", priority=1)],
        ["1", "2", "3", "4"],
    ),
}


@pytest.mark.parametrize(("tickets", "expected"), ORDERS.values(), ids=ORDERS)
def test_order(tickets, expected):
    it = queue(*tickets)
    assert serve(it) == expected
    assert (len(it), bool(it)) == (0, False)


def test_callers_who_are_equally_far_behind_go_by_age_not_by_name():
    queue = HoldQueue()
    queue.add(ticket("1", caller="z", since_s=0.0))
    queue.add(ticket("2", caller="a", since_s=1.0))
    assert [one.facts.request_id for one, _ in queue.take(lambda _: True)] == ["1", "2"]


def test_what_is_queued():
    it = queue(ticket("1"), ticket("2", model=B), ticket("3", "y"))
    assert (len(it), bool(it), "1" in it, "4" in it) == (3, True, True, False)
    assert (it.waiting(lane(asks(A))), it.waiting(lane(asks(B))), it.waiting(lane(asks(C)))) == (2, 1, 0)


def test_whoever_left_is_queued_no_more():
    it, first = HoldQueue(), ticket("1")
    it.add(first)
    assert it.remove("1") is first
    assert it.remove("1") is None
    assert (len(it), "1" in it, it.waiting(first.lane)) == (0, False, 0)
    assert serve(it) == []


def test_leaving_keeps_the_order_of_the_rest():
    it = queue(*(ticket(str(i), since_s=i) for i in range(5)))
    it.remove("0")
    it.remove("3")
    assert serve(it) == ["1", "2", "4"]


def test_a_request_that_is_held_again_has_one_place():
    it = queue(ticket("1"), ticket("2"), ticket("1", model=B, priority=3))
    assert (len(it), it.waiting(lane(asks(A))), it.waiting(lane(asks(B)))) == (2, 1, 1)
    assert serve(it) == ["2", "1"]


def test_only_so_many_slots():
    it = queue(*(ticket(str(i), since_s=i) for i in range(5)))
    assert serve(it, 2) == ["0", "1"]
    assert serve(it, 0) == []
    assert serve(it, 1) == ["2"]
    assert it.waiting(lane(asks(A))) == 2


def test_a_lane_without_slots_holds_up_no_other():
    it = queue(ticket("1", model=A, priority=-1), ticket("2", model=A), ticket("3", model=B), ticket("4", "y", model=B))
    assert serve(it, blocked={lane(asks(A))}) == ["3", "4"]
    assert serve(it) == ["1", "2"]


def test_a_lane_is_asked_once_per_round():
    it, asked = queue(*(ticket(str(i), f"x{i}") for i in range(100))), []
    it.take(lambda one: asked.append(one))
    assert len(asked) == 1


def test_expiry_takes_those_whose_time_is_over():
    it = queue(*(ticket(str(i), since_s=i, model=(A, B)[i % 2]) for i in range(6)))
    assert ids(it.expire(62)) == ["0", "1", "2"]
    assert it.expire(62) == []
    assert serve(it) == ["3", "4", "5"]


@pytest.mark.parametrize(
    ("hold_s", "wait_s", "is_late"),
    [(20.0, None, True), (21.0, None, False), (600.0, 20.0, True), (600.0, 21.0, False), (20.0, 600.0, True)],
)
def test_each_waits_as_long_as_its_model_lets_it_or_it_wishes(hold_s, wait_s, is_late):
    it = queue(ticket("1", hold_s=hold_s, wait_s=wait_s))
    assert ids(it.expire(20)) == ["1"] * is_late


def test_who_has_waited_long_goes_first():
    it = queue(
        ticket("urgent", since_s=50, priority=-100),
        ticket("patient", since_s=0, priority=100, hold_s=600.0),
        ticket("old", since_s=1, priority=100),
        ticket("new", "y", since_s=60),
    )
    it.promote(40)
    assert serve(it) == ["old", "urgent", "new", "patient"]


def test_putting_forward_twice_changes_nothing():
    it = queue(*(ticket(str(i), since_s=i, priority=i) for i in range(4)))
    it.promote(32)
    it.promote(34)
    assert len(it) == 4
    assert serve(it) == ["0", "1", "2", "3"]


def test_the_overdue_expire_oldest_first_like_all():
    it = queue(*(ticket(str(i), since_s=i) for i in range(4)))
    it.promote(32)
    assert ids(it.expire(70)) == ["0", "1", "2", "3"]
    assert not it


def test_no_class_of_the_fleet_file_is_above_the_overdue():
    assert OVERDUE < -100


@pytest.mark.parametrize(("weight", "every"), [(2.0, 3), (3.0, 4), (1.0, 2)])
def test_shares_follow_weights(weight, every):
    """Of `every` grants, weight 1 gets one."""
    x = (ticket(f"x{i}", since_s=i) for i in range(400))
    y = (ticket(f"y{i}", "y", since_s=i) for i in range(400))
    served = serve(queue(*x, *y, weights={"x": weight}), 240)
    assert sum(one.startswith("y") for one in served) == pytest.approx(240 / every, abs=1)


@untimed
@given(st.integers(1, 20), st.sampled_from([1.0, 2.0, 0.5, 10.0]), st.floats(0.1, 60.0), st.data())
def test_two_backlogged_callers_get_equal_service_whatever_they_offer(offered, weight, service_s, data):
    """Within one ticket, at every moment, in proportion to their weights; however the slots come."""
    it = HoldQueue({"x": weight})
    number = 0
    for i in range(60):
        for _ in range(offered):
            it.add(ticket(f"x{number}", "x", since_s=number, service_s=service_s))
            number += 1
        it.add(ticket(f"y{i}", "y", since_s=number, service_s=service_s))
    got = Counter()
    waiting = Counter(x=60 * offered, y=60)
    while min(waiting.values()):
        for one in serve(it, data.draw(st.integers(1, 7))):
            if min(waiting.values()):
                got[one[0]] += 1
            waiting[one[0]] -= 1
            assert abs(got["x"] / weight - got["y"]) <= max(1.0, 1 / weight) + 1e-9


def test_ten_times_the_load_gets_no_more():
    """10:1 offered, equal weights, slots one at a time, while both go on sending."""
    it, got, sent = HoldQueue(), Counter(), 0
    for moment in range(500):
        for caller in "x" * 10 + "y":
            it.add(ticket(f"{caller}{sent}", caller, since_s=moment))
            sent += 1
        got.update(one[0] for one in serve(it, 1))
        assert abs(got["x"] - got["y"]) <= 1


def test_a_caller_that_was_idle_has_saved_up_nothing():
    it = queue(*(ticket(f"x{i}") for i in range(100)))
    assert serve(it, 50) == [f"x{i}" for i in range(50)]
    for i in range(50):
        it.add(ticket(f"y{i}", "y"))
    served = serve(it, 20)
    assert sum(one.startswith("y") for one in served) == 10


def test_a_caller_that_was_ahead_stays_ahead_when_it_comes_back():
    """Leaving and coming back wipes no debt out."""
    it = queue(ticket("x0", service_s=10.0), ticket("y0", "y"))
    assert serve(it) == ["x0", "y0"]
    it.add(ticket("x1"))
    for i in range(1, 20):
        it.add(ticket(f"y{i}", "y"))
    assert serve(it).index("x1") >= 9


def test_thousands_of_callers_that_came_once_are_forgotten():
    it = HoldQueue()
    it.add(ticket("debtor0", "debtor", service_s=1e6))
    assert serve(it) == ["debtor0"]
    for i in range(MAX_IDLE + 10):
        it.add(ticket(f"r{i}", f"caller{i}"))
        it.take(lambda one: one)
    it.add(ticket("debtor1", "debtor"))
    it.add(ticket("z", "z"))
    assert serve(it) == ["debtor1", "z"]


def test_two_thousand_are_served_in_the_stated_order():
    """Classes in order; within one, callers by turns; within a caller, by age."""
    callers, classes = [f"c{i}" for i in range(8)], (-1, 0, 7)
    sent = [
        ticket(str(i), callers[i * i % 8 if i % 3 else i % 8], (A, B, C)[i % 3], float(i), 1.0, classes[i % 5 % 3])
        for i in range(2000)
    ]
    it = queue(*sent)
    served = serve(it)
    by_id = {one.facts.request_id: one for one in sent}
    assert sorted(served, key=int) == [str(i) for i in range(2000)]
    assert [by_id[one].priority for one in served] == sorted(one.priority for one in sent)
    for priority in classes:
        those = [by_id[one] for one in served if by_id[one].priority == priority]
        left = Counter(one.facts.caller for one in those)
        last = dict.fromkeys(left, -1.0)
        got = Counter()
        for one in those:
            caller = one.facts.caller
            assert one.since_s > last[caller]
            last[caller] = one.since_s
            backlogged = [name for name in left if left[name]]
            if priority == classes[0]:
                # All started at once: nobody with tickets left is behind whoever is served.
                assert got[caller] == min(got[name] for name in backlogged)
            got[caller] += 1
            left[caller] -= 1


tickets = st.builds(
    ticket,
    caller=st.sampled_from("xyz"),
    model=st.sampled_from([A, B, C]),
    service_s=st.floats(0.01, 100),
    priority=st.integers(-2, 2),
    num_ctx=st.none() | st.just(4096),
)


class Waiting(RuleBasedStateMachine):
    """Any traffic: each ticket leaves exactly once, by one of the three ways, in the stated order."""

    @initialize(weights=st.dictionaries(st.sampled_from("xyz"), st.sampled_from([0.5, 2.0, 100.0])))
    def start(self, weights):
        self.it = HoldQueue(weights)
        self.now_s = 0.0
        self.inside = {}
        self.left = Counter()
        self.overdue = set()
        self.number = 0

    def leave(self, request_id):
        del self.inside[request_id]
        self.overdue.discard(request_id)
        self.left[request_id] += 1

    @rule(pattern=tickets, number=st.integers(1, 8))
    def come(self, pattern, number):
        for _ in range(number):
            self.now_s += 1.0
            self.number += 1
            facts = asks(
                pattern.facts.model,
                request_id=str(self.number),
                caller=pattern.facts.caller,
                num_ctx=pattern.facts.num_ctx,
            )
            one = Ticket(facts, self.now_s, pattern.service_s, 60.0, pattern.priority)
            self.it.add(one)
            self.inside[str(self.number)] = one

    @rule(slots=st.integers(0, 10), blocked=st.sets(st.sampled_from([lane(asks(A)), lane(asks(B))])))
    def slots_come(self, slots, blocked):
        before = dict(self.inside)
        served = serve(self.it, slots, blocked)
        assert len(served) == len(set(served))
        free = [name for name, one in before.items() if one.lane not in blocked]
        assert len(served) == min(slots, len(free))
        assert not {before[name].lane for name in served} & blocked
        ranks = [OVERDUE if name in self.overdue else before[name].priority for name in served]
        assert ranks == sorted(ranks)
        if served and len(served) < len(free):
            left = [OVERDUE if name in self.overdue else before[name].priority for name in free if name not in served]
            assert max(ranks) <= min(left)
        last = {}
        for name, rank in zip(served, ranks, strict=True):
            one = before[name]
            place = (one.facts.caller, one.lane, rank)
            assert one.since_s > last.get(place, -1.0)
            last[place] = one.since_s
            self.leave(name)

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def somebody_leaves(self, data):
        name = data.draw(st.sampled_from(sorted(self.inside)))
        assert self.it.remove(name).facts.request_id == name
        self.leave(name)

    @rule(age_s=st.floats(0, 70))
    def the_oldest_expire(self, age_s):
        expected = [name for name, one in self.inside.items() if self.now_s + age_s - one.since_s >= 60.0]
        assert sorted(ids(self.it.expire(self.now_s + age_s)), key=int) == expected
        for name in expected:
            self.leave(name)

    @rule(age_s=st.floats(0, 70))
    def the_oldest_are_put_forward(self, age_s):
        self.it.promote(self.now_s + age_s)
        self.overdue |= {name for name, one in self.inside.items() if self.now_s + age_s - one.since_s > 30.0}

    @invariant()
    def it_knows_who_is_inside(self):
        if not hasattr(self, "it"):
            return
        assert len(self.it) == len(self.inside)
        assert all(name in self.it for name in self.inside)
        assert not any(name in self.it for name in self.left)
        lanes = Counter(one.lane for one in self.inside.values())
        assert all(self.it.waiting(lane(asks(model))) == lanes[lane(asks(model))] for model in (A, B, C))
        assert set(self.left.values()) <= {1}

    def teardown(self):
        if hasattr(self, "it"):
            inside = len(self.inside)
            assert len(serve(self.it)) == inside
            assert not self.it


TestWaiting = Waiting.TestCase
TestWaiting.settings = settings(deadline=None, max_examples=60, stateful_step_count=30)


@untimed
@given(
    st.lists(st.tuples(st.sampled_from("uvwxyz"), st.floats(0.1, 5.0)), min_size=1, max_size=12),
    st.integers(0, 60),
    st.dictionaries(st.sampled_from("uvwxyz"), st.sampled_from([0.5, 3.0])),
)
def test_nobody_starves(others, before, weights):
    """However much the others send and have got: a newcomer is served before any of them is served twice."""
    it, number = HoldQueue(weights), 0

    def one_slot():
        nonlocal number
        for caller, service_s in others:
            it.add(ticket(f"{caller}{number}", caller, service_s=service_s))
            number += 1
        return serve(it, 1)[0]

    for _ in range(before):
        one_slot()
    it.add(ticket("me", "me"))
    served = [one_slot() for _ in range(len({caller for caller, _ in others}) + 1)]
    assert "me" in served
    got = Counter(one[0] for one in served[: served.index("me")])
    assert all(times == 1 for times in got.values())
