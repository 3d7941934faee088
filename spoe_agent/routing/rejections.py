"""What requests are told that go nowhere: which exclusion counts when there are several, the reason, the text."""

from __future__ import annotations

from spoe_agent.routing.choice import PASSING, Action, Candidate, Choice, Exclusion, Reason
from spoe_agent.routing.demand import Demand
from spoe_agent.routing.facts import RequestFacts, RequestProblem
from spoe_agent.routing.names import display, shortest
from spoe_agent.routing.specs import FleetSpec
from spoe_agent.routing.surface import Kind

UNREAD = {
    RequestProblem.UNREADABLE: Reason.UNREADABLE,
    RequestProblem.BAD_NAME: Reason.BAD_NAME,
    RequestProblem.BAD_HEADER: Reason.BAD_HEADER,
    RequestProblem.NAMELESS: Reason.NOT_FOUND,
    RequestProblem.TOO_LARGE: Reason.TOO_LARGE,
}

UNSERVED = {
    # What may pass, so that waiting helps.
    Exclusion.DOWN: Reason.NO_INSTANCE_UP,
    Exclusion.DRAINED: Reason.NO_INSTANCE_UP,
    Exclusion.NOT_IN_HAPROXY: Reason.NO_INSTANCE_UP,
    Exclusion.SUSPECT: Reason.NO_INSTANCE_UP,
    Exclusion.GPU: Reason.NO_INSTANCE_UP,
    Exclusion.NO_LISTS: Reason.NO_LISTS,
    # What does not.
    Exclusion.CANNOT_FIT: Reason.CANNOT_FIT,
    Exclusion.NOT_PINNED: Reason.NOT_FOUND,
    Exclusion.NOT_INSTALLED: Reason.NOT_FOUND,
}
"""The reason to reject where these exclude every instance; of several that hold, the first one here."""

LATE = Choice(Action.REJECT, Reason.TOO_LATE, message="the request ended before it was decided")
"""Nobody waits for this answer any more."""

NO_MANAGEMENT = "this key may not change models"

CROWDING_RETRY_S = 1
"""When a request of the key's own will have ended, nobody knows."""

_RANK = {exclusion: rank for rank, exclusion in enumerate(UNSERVED)}


def unread(facts: RequestFacts, problem: RequestProblem, fleet: FleetSpec) -> Choice:
    """No model could be read: answered at the door, because any instance would be a guess."""
    message = facts.detail
    if problem is RequestProblem.TOO_LARGE:
        limit = fleet.policy.max_inspected_bytes
        message = (
            f"the request body is larger than {limit} bytes, and its beginning names no model: put 'model' first, "
            "name it in the header X-Model, or raise max_inspected_body in the fleet file"
        )
    return Choice(Action.REJECT, UNREAD[problem], message=message)


def forbidden(facts: RequestFacts) -> Choice | None:
    """Whoever asks has no right to it; None: there is one."""
    rights = facts.rights
    if facts.kind is Kind.MANAGE and not rights.may_manage:
        return Choice(Action.REJECT, Reason.NO_RIGHT, message=NO_MANAGEMENT)
    if facts.model is None or rights.may_use(facts.model):
        return None
    # As if there were none: a key does not tell which models there are beside its own.
    return Choice(Action.REJECT, Reason.NOT_ALLOWED, message=_unknown(facts))


def crowding(facts: RequestFacts) -> Choice:
    """The key has as many requests at a time as it may."""
    message = f"this key may have {facts.rights.concurrent} requests at a time; try again when one has ended"
    return Choice(Action.REJECT, Reason.TOO_MANY, message=message, retry_after_s=CROWDING_RETRY_S)


def unserved(demand: Demand, candidates: tuple[Candidate, ...]) -> Choice:
    """No instance may serve it; each candidate says why."""
    only = demand.facts.wishes.instance
    if only and all(candidate.instance != only for candidate in candidates):
        message = f"no instance is called '{only}' (header x-pointsman-instance)"
        return Choice(Action.REJECT, Reason.NOT_FOUND, message=message)
    told = {candidate.exclusion for candidate in candidates if candidate.exclusion is not None}
    told.discard(Exclusion.NOT_ASKED_FOR)
    reason = UNSERVED[min(told, key=_RANK.__getitem__)] if told else Reason.NO_INSTANCE_UP
    message = _message(reason, demand, told, candidates)
    message = f"{message} (only {only} was asked for, by the header x-pointsman-instance)" if only else message
    retry_after_s = demand.fleet.policy.retry_after_s if reason in PASSING else None
    return Choice(Action.REJECT, reason, message=message, retry_after_s=retry_after_s, candidates=candidates)


def unsure(choice: Choice, facts: RequestFacts, fleet: FleetSpec) -> Choice:
    """A model is not found, but a store is being changed, and what its instances have now is not known."""
    name = facts.asked or display(facts.model or "")
    message = f"models are being changed, and perhaps '{name}' is there now; try again shortly"
    retry_after_s = fleet.policy.retry_after_s
    return Choice(
        Action.REJECT, Reason.NO_LISTS, message=message, retry_after_s=retry_after_s, candidates=choice.candidates
    )


def shut(demand: Demand, candidates: tuple[Candidate, ...]) -> Choice:
    """The front end did not reach the door, and only there several stores can be changed."""
    message = "HAProxy did not reach the agent's port for such changes (listeners.door); try again shortly"
    retry_after_s = demand.fleet.policy.retry_after_s
    return Choice(
        Action.REJECT, Reason.NO_INSTANCE_UP, message=message, retry_after_s=retry_after_s, candidates=candidates
    )


def _message(reason: Reason, demand: Demand, told: set[Exclusion], candidates: tuple[Candidate, ...]) -> str:
    name = demand.facts.asked or display(demand.model)
    match reason:
        case Reason.NO_INSTANCE_UP:
            served = f"that serves model '{name}' " if demand.model else ""
            return f"no Ollama instance {served}{_missing(told)}; try again shortly"
        case Reason.NO_LISTS:
            what = "an Ollama instance has just started and lists no models yet"
            return f"{what}, perhaps it has '{name}'; try again shortly"
        case Reason.CANNOT_FIT:
            details = "; ".join(f"{c.instance} {c.detail}" for c in candidates if c.exclusion is Exclusion.CANNOT_FIT)
            return f"model '{name}' does not fit the GPU memory of any instance: {details}"
    return _unknown(demand.facts)


def _unknown(facts: RequestFacts) -> str:
    """The text of Ollama's own 404, so that clients who match on it go on working."""
    name = facts.asked or display(facts.model or "")
    return facts.words.unknown.format(shortest(name) if facts.words.is_short else name)


def _missing(told: set[Exclusion]) -> str:
    if Exclusion.DOWN in told:
        return "is up"
    if Exclusion.DRAINED in told:
        return "takes requests: drained by hand"
    if Exclusion.NOT_IN_HAPROXY in told:
        return "is in HAProxy yet: it was added to the fleet file just now"
    return "is up"
