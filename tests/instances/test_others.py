"""Signs of others in `/api/ps`: stories of readings, one a second."""

import pytest

from spoe_agent.instances.others import FIRST_S, LEAST_S, MOST_S, Others
from spoe_agent.routing.snapshot import LoadedModel

KEEP_S = 300.0


class Rig:
    """Model `a` is loaded and idle since long ago; wall time is monotonic time."""

    def __init__(self):
        self.others, self.now_s, self.expires = Others(), 1000.0, {"a": 1200.0}
        self.see()

    def see(self, *in_flight):
        loaded = {model: LoadedModel(1, 1, expires_at_s=at_s) for model, at_s in self.expires.items()}
        self.others.see(loaded, in_flight, self.now_s, self.now_s)

    def second(self, *in_flight, used=(), ours=()):
        """One second passes; requests for `used` end in it, and those for `ours` too, which are ours."""
        self.now_s += 1.0
        self.expires |= dict.fromkeys((*used, *ours), self.now_s - 0.3 + KEEP_S)
        for model in ours:
            self.others.ours(model, self.now_s - 0.3)
        self.see(*in_flight)
        return self.using

    @property
    def using(self):
        return sorted(self.others.using(self.now_s))


def test_nothing_at_first_and_nothing_while_idle():
    rig = Rig()
    for _ in range(5):
        assert rig.second() == []


@pytest.mark.parametrize(
    ("in_flight", "used", "ours", "expected"),
    [
        ((), ("a",), (), ["a"]),
        ((), ("a",), ("a",), []),
        (("a",), ("a",), (), []),
        (("b",), ("a",), (), []),  # b may be another name of a, and a's is the only one that is shown
        ((), ("b",), (), ["b"]),
        ((), (), ("b",), []),
        ((), ("a", "b"), ("b",), []),  # b was not listed when ours ended: it may have been any
    ],
)
def test_what_a_reading_tells(in_flight, used, ours, expected):
    assert Rig().second(*in_flight, used=used, ours=ours) == expected


def test_the_first_request_since_a_load_is_seen_while_it_runs():
    """Until it ends, Ollama shows what would be if it ended now."""
    rig = Rig()
    for second in range(5):
        rig.expires["b"] = rig.now_s + 1.0 + KEEP_S
        assert rig.second() == ["b"]
        assert rig.others.using(rig.now_s)["b"] == second
    for _ in range(int(FIRST_S)):
        rig.second()
    assert rig.using == []


def test_a_model_that_should_be_gone_is_in_use():
    rig = Rig()
    rig.now_s = 1215.0
    assert rig.second() == ["a"]


def test_signs_far_apart_are_believed_in_for_longer_than_those_close_together():
    """A client whose requests take 19 s each gives a sign every 19 s; between them it is believed to go on."""
    rig = Rig()
    for _ in range(2):
        rig.second(used=("a",))
        for _ in range(18):
            rig.second()
    rig.second(used=("a",))
    assert rig.others.using(rig.now_s) == {"a": 19.0}
    for _ in range(19):
        assert rig.second() == ["a"]
    for _ in range(12):
        rig.second()
    assert rig.using == []


def test_for_how_long_they_are_believed_in_at_least_and_at_most():
    rig = Rig()
    for _ in range(10):
        rig.second(used=("a",))
    left_s = 0
    while rig.second():
        left_s += 1
    assert left_s <= LEAST_S
    rig.second(used=("a",))
    assert MOST_S >= FIRST_S


def test_a_model_that_goes_takes_its_signs_along():
    rig = Rig()
    rig.second(used=("a",))
    rig.expires = {}
    assert rig.second() == []


def test_a_server_that_does_not_say():
    rig = Rig()
    rig.expires = {"a": None}
    assert rig.second() == []
    assert rig.second() == []


def test_requests_that_nobody_knows_may_be_ours():
    """Their front end fell back, or had them before the agent was started."""
    rig = Rig()
    rig.others.ours("", rig.now_s + 0.5)
    assert rig.second(used=("a",)) == []
