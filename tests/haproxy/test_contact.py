"""Whether HAProxy asks: what is counted, and what is said about it."""

import pytest
from structlog.testing import capture_logs

from spoe_agent.agent.ending import Ending, Line
from spoe_agent.haproxy.contact import GRACE_S, OPEN, RECENT_S, REPEAT_S, Contact

STARTED_S = 1_700_000_000.0


class Heard:
    """A contact on a clock of the test's own; lines begin when they come."""

    def __init__(self):
        self.now_s = 100.0
        self.wants_keys = False
        self.it = Contact(lambda: self.now_s, self.wall, lambda _: None, lambda: self.wants_keys)

    def wall(self):
        return STARTED_S + self.now_s - 100.0

    def after(self, seconds):
        self.now_s += seconds
        return self

    def line(self, fell_back=True, error="257", begun_s_ago=0.0, process="1-a"):
        begun_at_s = STARTED_S + self.now_s - 100.0 - begun_s_ago
        ending = Ending(0.1, 0.2, is_whole=True)
        fields = {"process": process, "begun_at_s": begun_at_s, "fell_back": fell_back, "spoe_error": error}
        self.it.ended(Line("r", "g0", ending, **fields))


def test_nothing_is_wrong_while_it_asks():
    heard = Heard()
    assert (heard.it.warning(), heard.it.status()["asked_age_s"]) == ("", None)
    heard.after(60).it.asked("1-a")
    heard.line(fell_back=False, error="")
    found = heard.after(5).it.status()
    assert found["processes"] == [{"name": "1-a", "asked_age_s": 5.0, "heard_age_s": 5.0, "connections": 0}]
    del found["processes"]
    assert found == {
        "warning": "",
        "questions": 1,
        "asked_age_s": 5.0,
        "lines": 1,
        "fell_back": 0,
        "first_fell_back_age_s": None,
        "last_fell_back_age_s": None,
    }


def never(heard):
    heard.after(60).line()
    heard.after(2).line()


def no_more(heard):
    heard.after(60).it.asked("1-a")
    heard.after(3).line()


def too_late(heard):
    heard.after(60).line(error="1")
    heard.it.asked("1-a")


def not_all(heard):
    heard.after(60).line(error="2")
    heard.it.asked("1-a")


@pytest.mark.parametrize(
    ("happens", "says"),
    [
        (never, "HAProxy has never asked this agent, although it sends log lines: 2 requests went on without"),
        (
            no_more,
            "HAProxy asks no more: 1 request went on without the agent (spoe_error 257), the last question came 3 s",
        ),
        (too_late, "HAProxy asks, but the agent answers too late: 1 request"),
        (not_all, "HAProxy asks, but not every question reaches it: 1 request"),
    ],
)
def test_requests_that_go_by_are_said_loudly_for_a_while(happens, says):
    heard = Heard()
    happens(heard)
    assert heard.it.warning().startswith(says)
    assert heard.after(RECENT_S + 1).it.warning() == ""
    assert heard.it.status()["fell_back"] > 0


@pytest.mark.parametrize("begun_s_ago", [60.0, 60.0 - GRACE_S / 2])
def test_what_began_before_haproxy_could_find_the_agent_is_counted_and_no_sign(begun_s_ago):
    heard = Heard().after(60)
    heard.line(begun_s_ago=begun_s_ago)
    assert (heard.it.warning(), heard.it.fell_back) == ("", 1)


def test_the_log_says_it_once_in_a_while():
    heard = Heard().after(60)
    said = []
    for _ in range(int(REPEAT_S / 10) + 1):
        heard.line()
        with capture_logs() as logs:
            heard.it.review()
        said += [line["log_level"] for line in logs]
        heard.after(10)
    assert said == ["warning"] * 2


def test_processes_that_have_ended_are_told_once():
    heard = Heard()
    heard.it.asked("1-a")
    assert heard.it.review() == []
    assert (heard.after(10_000).it.review(), heard.it.review()) == (["1-a"], [])


def test_a_haproxy_that_asks_nobody_for_a_key_is_told_of_when_it_should():
    heard = Heard()
    heard.it.asked("1-a", has_key=False)
    assert heard.it.warning() == ""
    heard.wants_keys = True
    assert heard.it.warning() == heard.it.status()["warning"] == OPEN
    with capture_logs() as logs:
        heard.it.review()
    assert [(one["event"], one["why"]) for one in logs] == [("requests come in without a key", OPEN)]
    heard.it.asked("2-b", has_key=True)
    heard.it.asked("1-a")
    assert heard.it.warning() == OPEN, "another process, and what does not tell"
    heard.it.asked("1-a", has_key=True)
    assert heard.it.warning() == ""
    heard.it.asked("1-a", has_key=False)
    heard.after(RECENT_S + 1)
    assert heard.it.warning() == ""
