"""Boards with grants, and HAProxy's counts to hold them against."""

from spoe_agent.agent.board import Board
from spoe_agent.agent.grant import Grant
from spoe_agent.routing import Health, InstanceLoad, InstanceState, LoadedModel
from spoe_agent.routing.names import canonical

A, B, C, CLOUD = (canonical(name) for name in ("a", "b", "c", "c:cloud"))


def reading(*loaded, at_s=0.0):
    return InstanceState(Health.UP, {model: LoadedModel(1, 1) for model in loaded}, at_s)


def counts(connections, queued=0):
    return {"g0": InstanceLoad(connections, queued, is_up=True)}


def board(*grants, loaded=(A, B)):
    """A board with one instance's readings, and with grants of (id, model, second)."""
    it = Board()
    it.publish("g0", reading(*loaded))
    for request_id, model, at_s in grants:
        grant(it, request_id, "g0", model, at_s)
    return it


def grant(it, request_id, instance, model, at_s, victims=()):
    it.grant(Grant(request_id, instance, model, at_s), victims)


def reconciled(it, loads, now_s, process=""):
    """What is known for a question that came with these counts."""
    it.reconcile(loads, process, now_s)
    return it.snapshot(loads, now_s, process=process)


def in_flight(it, loads, now_s):
    return dict(reconciled(it, loads, now_s).active("g0").in_flight)


def loaded(it, now_s=1000.0):
    return set(it.snapshot({}, now_s).state("g0").loaded)


TWO = ("1-a", "2-b")


def asked(it, request_id, process, at_s=0.0, instance="g0"):
    it.grant(Grant(request_id, instance, A, at_s, process=process))


def seen(it, process, connections, now_s):
    """What the board shows of g0 to a process that counts so many connections there."""
    return reconciled(it, counts(connections), now_s, process).active("g0")
