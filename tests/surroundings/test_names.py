"""Names that lead nowhere, or only for programs that know search domains."""

import threading

import pytest

from spoe_agent.fleet import loads
from spoe_agent.fleet.problems import dotted
from spoe_agent.surroundings.names import doubtful_names

FLEET = """
listeners: {spop: ["unix@/s", "agent:9601"], log: "agent:9603", trusted_network: true}
instances:
- {name: a, url: "http://127.0.0.1:1"}
- {name: b, url: "http://gpu-box:2"}
- {name: c, url: "http://gpu-box.lan:2"}
telemetry: {sources: [{url: "http://metrics:9400/metrics", exporter: true}]}
"""
EVERYBODY = {"agent", "agent.", "gpu-box", "gpu-box.", "gpu-box.lan", "gpu-box.lan.", "metrics", "metrics."}
UNKNOWN = "is not known here: Name or service not known"
SEARCHED = "is found by a search domain only, which HAProxy does not know; write its full name (gpu-box.lan)"


def lookup_of(known):
    def lookup(name):
        if name not in known:
            raise OSError(-2, "Name or service not known")
        return "gpu-box.lan"

    return lookup


@pytest.mark.parametrize(
    ("missing", "in_hosts", "found"),
    [
        (set(), set(), []),
        ({"gpu-box", "gpu-box."}, set(), [("instances[1].url", f"gpu-box {UNKNOWN}")]),
        ({"gpu-box."}, set(), [("instances[1].url", f"gpu-box {SEARCHED}")]),
        ({"gpu-box."}, {"gpu-box"}, []),
        ({"agent"}, set(), [("listeners.log", f"agent {UNKNOWN}"), ("listeners.spop", f"agent {UNKNOWN}")]),
        ({"metrics"}, set(), [("telemetry.sources[0].url", f"metrics {UNKNOWN}")]),
    ],
)
def test_names(missing, in_hosts, found):
    said = doubtful_names(loads(FLEET), lookup_of(EVERYBODY - missing), frozenset(in_hosts))
    assert [(dotted(one.path), one.message) for one in said] == found


def test_a_server_that_never_answers_is_not_waited_for():
    answers = threading.Event()

    def lookup(name):
        answers.wait()
        return name

    fleet = loads('instances: [{name: b, url: "http://gpu-box:2"}]')
    (one,) = doubtful_names(fleet, lookup, deadline_s=0.05)
    answers.set()
    assert one.message == "gpu-box was not found within 0.05 s"
