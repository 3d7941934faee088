"""Times that are too short for what happens within them."""

import pytest

from spoe_agent.surroundings.times import chain
from tests.surroundings.seeing import fleet, seen


def told(instance=None, **policies):
    return [(one.path[-1], one.text) for one in chain(seen(fleet(instance or {}, policies=policies)))]


RESPONSE = "response_timeout"


@pytest.mark.parametrize(
    ("instance", "policies", "expected"),
    [
        ({}, {}, []),
        (
            {},
            {RESPONSE: "4m"},
            [(RESPONSE, "240s of silence end a request, and g0 may load for 300s without progress")],
        ),
        ({}, {RESPONSE: "5m"}, []),
        ({"ollama": {"load_timeout": "3m"}}, {RESPONSE: "4m"}, []),
        (
            {"ollama": {"load_timeout": "1h"}},
            {},
            [(RESPONSE, "1800s of silence end a request, and g0 may load for 3600s")],
        ),
        ({"ollama": {"load_timeout": 0}}, {}, []),
        (
            {"ollama": {"load_timeout": "1m"}},
            {RESPONSE: "90s"},
            [(RESPONSE, "90s of silence end a request before a load that hangs is looked into (120s)")],
        ),
        ({}, {"queue_timeout": "1m"}, []),
        (
            {},
            {"queue_timeout": "1m", "hold_timeout": 0},
            [("queue_timeout", "60s in the queue end a request, and g0 may load for longer")],
        ),
        ({}, {"hold_timeout": "5s"}, [("hold_timeout", "5s are over before a busy model gives way to others (8s)")]),
        ({}, {"hold_timeout": "9s"}, []),
        (
            {"ollama": {"keep_alive": 0}},
            {},
            [("keep_alive", "models are gone after 0s without a request, readings count for 10s")],
        ),
        ({"ollama": {"keep_alive": -1}}, {}, []),
        ({"ollama": {"keep_alive": "10s"}}, {}, []),
    ],
)
def test_an_outer_time_covers_what_is_within(instance, policies, expected):
    found = told(instance, **policies)
    assert [key for key, _ in found] == [key for key, _ in expected]
    assert all(text.startswith(words) for (_, text), (_, words) in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("model", "hold_timeout", "is_told"),
    [
        ({"latency": "batch"}, 0, True),
        ({"latency": "interactive"}, 0, True),
        ({}, 0, False),
        ({"latency": "batch"}, "60s", False),
    ],
)
def test_who_waits_for_a_model_counts_where_requests_are_held(model, hold_timeout, is_told):
    of = fleet({}, models=[{"match": "b"}, {"match": "a", **model}], policies={"hold_timeout": hold_timeout})
    assert [one.path for one in chain(seen(of))] == [("models", 1, "latency")] * is_told
