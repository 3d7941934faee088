"""Our own policy on virtual time: the agent that runs behind HAProxy.

It plays HAProxy: counts with every request, another question for whom an instance did not take, a log line at each end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Self

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.board import Board
from spoe_agent.agent.ending import Ending
from spoe_agent.agent.grant import Grant
from spoe_agent.fleet import HealthPolicy
from spoe_agent.fleet.schema import Policies
from spoe_agent.instances.lists import InstalledModel
from spoe_agent.routing import (
    Action,
    Choice,
    Dialect,
    FleetSpec,
    InstanceLoad,
    InstanceSpec,
    Kind,
    LoadedModel,
    Policy,
    Reason,
    RequestFacts,
)
from spoe_agent.routing.names import canonical
from spoe_agent.routing.specs import Weights
from spoe_agent.simulator import InstanceProfile, Model
from spoe_agent.simulator import work as simulated
from spoe_agent.simulator.virtual.fleet import FleetPlan
from spoe_agent.simulator.virtual.front import Front
from spoe_agent.simulator.virtual.policy import Assignment, Probe, Refusal, RoutingPolicy, Touch, Wait
from spoe_agent.simulator.virtual.requests import Request, RequestOutcome
from spoe_agent.simulator.virtual.watching import Watching, faster


@dataclass(frozen=True, slots=True)
class Variant:
    """What may be different about the agent."""

    weights: Weights = field(default_factory=Weights)
    hold_s: float = Policies().hold_timeout
    """The fleet file's own. 0: nothing is held, requests queue in HAProxy."""
    steers: bool = True
    """Models that must go are unloaded before the load; without, Ollama chooses what goes."""
    is_told_context: bool = True
    """The fleet file says `context_length`; without, the agent sees what models are loaded with."""
    says_parallel: int | None = None
    """What its fleet file says of slots per model; None: the truth."""
    says_loaded: int | None = None
    """What its fleet file says of how many models an instance keeps loaded."""
    time_scale: float = 1.0
    """The agent's own clock runs so many times slower than the fleet's, as in a live run on a faster fleet."""
    salt: int = 0
    """Of requests' ids, by which the agent tells equals apart: another is another chance. 0: their plain numbers."""


USUAL = Variant()

NO_STORES: Mapping[str, Collection[str]] = MappingProxyType({})


class PointsmanPolicy(RoutingPolicy):
    """Asks the agent."""

    poll_interval_s = 1.0

    def __init__(
        self,
        spec: FleetSpec,
        models: tuple[Model, ...],
        variant: Variant = USUAL,
        stores: Mapping[str, Collection[str]] = NO_STORES,
        health: HealthPolicy | None = None,
    ) -> None:
        """`stores`: which of the models a store has, by canonical key; those that are not named have all.
        `health`: as the agent has it; None: the usual one, as much faster as the variant's fleet is.
        """
        self._variant = variant
        self._now_s = 0.0
        self._names = tuple(one.name for one in spec.instances)
        self._position = {name: server for server, name in enumerate(self._names)}
        clock = self._agents_time_s
        self.agent = Agent(spec, Board(), _nothing_new, clock, refused=self._not_taken)
        self._models = {canonical(model.name): model for model in models}
        on_disk = {one.name: self._on_disk(stores.get(one.store)) for one in spec.instances}
        self._watching = Watching(self.agent, on_disk, clock, health or faster(variant.time_scale))
        self._sent: dict[int, tuple[str, float]] = {}
        """Where each request was sent last, and when."""
        self._tried: dict[int, tuple[str, ...]] = {}
        """Instances that did not take a request, oldest first."""
        self._victims: dict[int, tuple[str, ...]] = {}
        self._granted: list[tuple[int, Choice]] = []

    @classmethod
    def of(cls, fleet: FleetPlan, models: tuple[Model, ...], variant: Variant = USUAL) -> Self:
        """Return the agent of a plan, whose fleet file tells what the variant says."""
        return cls(fleet_spec(fleet, variant), models, variant)

    def _on_disk(self, names: Collection[str] | None) -> dict[str, InstalledModel]:
        return {key: _installed(model) for key, model in self._models.items() if names is None or key in names}

    def _not_taken(self, instance: str, grant: Grant | None) -> None:
        self._watching.not_taken(instance, grant)

    def _agents_time_s(self) -> float:
        return self._now_s / self._variant.time_scale

    def route(self, request: Request, front: Front, now_s: float) -> Assignment:
        self._now_s = now_s
        return self._verdict(request.work.id, self.agent.decide(self._facts(request, front)))

    def _verdict(self, request_id: int, choice: Choice) -> Assignment:
        if choice.action is Action.HOLD:
            self.agent.ask(self._id(request_id), self._answered)
            return Wait.POLICY
        if choice.instance is None:
            return Refusal(choice.status)
        self._sent[request_id] = choice.instance, self._now_s
        if choice.victims:
            self._victims[request_id] = choice.victims
        return self._position[choice.instance]

    def _id(self, request_id: int) -> str:
        return f"{request_id}.{self._variant.salt}" if self._variant.salt else str(request_id)

    def _number(self, request_id: str) -> int:
        """Return whose id it is."""
        return int(request_id.partition(".")[0])

    def _answered(self, choice: Choice, facts: RequestFacts) -> None:
        if choice.reason is not Reason.CLIENT_LEFT:
            self._granted.append((self._number(facts.request_id), choice))

    def grants(self, front: Front, now_s: float) -> list[tuple[int, Assignment]]:
        self._now_s = now_s
        self.agent.tick()
        granted, self._granted = self._granted, []
        return [(number, self._verdict(number, choice)) for number, choice in granted]

    def unloads(self, record: RequestOutcome) -> Iterable[Model]:
        victims = self._victims.pop(record.request.work.id, ())
        return [self._models[name] for name in victims] if self._variant.steers else []

    def polled(self, server: int, loaded: list[simulated.RunningModel], now_s: float) -> None:
        self._now_s = now_s
        self._watching.polled(self._names[server], self._readings(loaded))
        self.agent.tick()

    def _readings(self, loaded: list[simulated.RunningModel]) -> dict[str, LoadedModel]:
        scale = self._variant.time_scale
        return {
            canonical(line.model.name): LoadedModel(
                line.size_bytes, line.size_vram_bytes, line.num_ctx, line.expires_at_s / scale
            )
            for line in loaded
        }

    def touches(self, now_s: float) -> Iterable[Touch]:
        self._now_s = now_s
        return [
            Touch(self._position[touch.instance], self._models[touch.model], touch.context_length or None)
            for touch in self._watching.touches()
        ]

    def unreachable(self, server: int, now_s: float) -> None:
        self._now_s = now_s
        self._watching.refused(self._names[server])

    def again(self, request: Request, front: Front, now_s: float) -> Assignment:
        """HAProxy asks once more, and says whom it tried (`frontend pointsman_again`)."""
        request_id = request.work.id
        instance, _ = self._sent.pop(request_id)
        self._tried[request_id] = (*self._tried.get(request_id, ()), instance)
        self._victims.pop(request_id, None)
        return self.route(request, front, now_s)

    def probes(self, now_s: float) -> Iterable[Probe]:
        self._now_s = now_s
        return [
            Probe(
                self._position[asked.instance],
                self._models[asked.what.model],
                asked.what.context_length or None,
                asked.deadline_s * self._variant.time_scale,
            )
            for asked in self._watching.probes()
        ]

    def probed(self, server: int, is_answered: bool, now_s: float) -> None:
        self._now_s = now_s
        self._watching.probed(self._names[server], is_answered)

    def ended(self, record: RequestOutcome, front: Front, now_s: float) -> None:
        self._now_s = now_s
        request_id = record.request.work.id
        server = "" if record.server is None else self._names[record.server]
        _, sent_at_s = self._sent.pop(request_id, ("", now_s))
        is_redispatched = self._tried.pop(request_id, None) is not None
        ending = _ending(record, sent_at_s, self._variant.time_scale, is_redispatched)
        self._watching.ended(self._id(request_id), record, server, ending, is_redispatched)

    def _facts(self, request: Request, front: Front) -> RequestFacts:
        loads = {
            name: InstanceLoad(front.served[server], len(front.waiting[server]), is_up=front.is_up[server])
            for server, name in enumerate(self._names)
        }
        facts = RequestFacts(
            self._id(request.work.id),
            Kind.INFERENCE,
            Dialect.OLLAMA,
            loads=loads,
            body_bytes=4 * request.work.prompt_tokens,
            num_ctx=request.work.num_ctx,
            prefix=request.work.session or "",
            tried=self._tried.get(request.work.id, ()),
        )
        return facts.naming(request.work.model.name)


def _ending(record: RequestOutcome, sent_at_s: float, time_scale: float, is_redispatched: bool) -> Ending:
    """Return what HAProxy's log line would say of a request that was sent to its server then. Times of one that went
    around are not its last server's alone: nothing is learned of them.
    """
    first_at_s = record.ended_at_s if record.first_at_s is None else record.first_at_s
    first_s, total_s = (first_at_s - sent_at_s) / time_scale, (record.ended_at_s - sent_at_s) / time_scale
    return Ending(first_s, total_s, record.served and not is_redispatched)


def fleet_spec(fleet: FleetPlan, variant: Variant = USUAL) -> FleetSpec:
    """Return what a fleet file would say of the simulated fleet; its times are as fast as the variant's fleet."""
    specs = tuple(_spec(name, profile, variant) for name, profile in zip(fleet.names(), fleet.instances, strict=True))
    usual = Policy(hold_s=variant.hold_s, weights=variant.weights)
    scale = variant.time_scale
    return FleetSpec(specs, policy=replace(usual, hold_s=usual.hold_s / scale, max_age_s=usual.max_age_s / scale))


def max_connections(profile: InstanceProfile) -> int:
    """Return the `maxconn` that a fleet file without `max_connections` gives an instance."""
    return profile.num_parallel * profile.loaded_limit()


def _spec(name: str, profile: InstanceProfile, variant: Variant) -> InstanceSpec:
    parallel, most = variant.says_parallel or profile.num_parallel, variant.says_loaded or profile.loaded_limit()
    return InstanceSpec(
        name=name,
        max_connections=parallel * most,
        num_parallel=parallel,
        max_loaded_models=most,
        says=frozenset({"num_parallel", "max_loaded_models"}),
        vram_bytes=profile.vram_bytes,
        store="one machine",
        context_length=profile.context_length if variant.is_told_context else None,
    )


def _installed(model: Model) -> InstalledModel:
    return InstalledModel(model.size_bytes, model.digest, model.slots(2) == 1)


async def _nothing_new() -> None:
    """Lists are always current here."""
