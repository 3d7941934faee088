from spoe_agent.routing import Activity, Health

from .builders import A, moment, state


def test_what_is_known_of_an_instance():
    reading, activity = state(A), Activity({A: 1})
    snapshot = moment({"g0": activity}, g0=reading)
    assert snapshot.state("g0") is reading
    assert snapshot.active("g0") is activity


def test_an_instance_nobody_heard_of():
    snapshot = moment()
    assert snapshot.state("g9").health is Health.UNKNOWN
    assert snapshot.state("g9").loaded_at_s is None
    assert not snapshot.active("g9").in_flight
