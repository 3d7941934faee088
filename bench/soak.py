"""Does the agent's account drift? A modelled HAProxy in front of the real agent, for very many requests.

All in memory and on virtual time: the agent with its board, held queue and held answers; HAProxy and the Ollamas are
played here. What goes wrong in life goes wrong here, at random from a seed: clients leave at any moment, log lines are
lost, answers come too late, requests are sent on to another instance, instances die with all they serve. At the end
some requests are still running; the agent must count exactly those. Prints one line of JSON; exits 1 on drift. Run it:
python -m bench.soak.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass

import click
import structlog

from bench.events import Events
from bench.soak_ollamas import GIB, Ollamas
from bench.soak_tally import Tally
from spoe_agent.agent.agent import Agent
from spoe_agent.agent.board import Board
from spoe_agent.agent.counted import SETTLE_S
from spoe_agent.agent.ending import Ending
from spoe_agent.routing import (
    Action,
    Choice,
    Dialect,
    FleetSpec,
    InstanceLoad,
    InstanceSpec,
    Kind,
    ModelRule,
    Policy,
    Reason,
    RequestFacts,
)
from spoe_agent.routing.names import canonical

NAMES = ("gpu0", "gpu1", "gpu2", "gpu3")
MODELS = tuple(canonical(name) for name in ("llama3.1:8b", "qwen3:8b", "gemma3:4b", "mistral:7b", "phi4:14b"))
CLOUD, UNKNOWN = canonical("gpt-oss:120b-cloud"), canonical("nobody:has-it")
MAX_LOADED, SLOTS, MAX_CONNECTIONS = 2, 4, 8

LOST_LINE = 0.05
LEAVES = 0.08
"""Clients that give up, whatever happens to their request."""
SENT_ON = 0.01
LATE_ANSWER = 0.005
"""Decisions that HAProxy did not wait for: it balances by itself then."""
SLOW_TO_CONNECT = 0.02
DEATHS_PER_S = 0.001

ARRIVALS_PER_S = (40.0, 3.0, 12.0, 6.0)
"""For half a minute each: the first is far more than the instances can take, so most of those are held."""
MEAN_SERVICE_S = 2.0
FOR_EVER_S = 1e6
TICK_S = 0.25
POLL_S = 1.0
LISTS_S = 0.5
STILL_RUNNING = 12
"""Requests that run on when all the others are over."""


@dataclass(slots=True)
class Live:
    """One request that HAProxy has in its hands."""

    facts: RequestFacts
    service_s: float
    began_s: float
    server: str = ""
    """Where it runs; "" as long as it runs nowhere."""


class Soak:
    """HAProxy and four Ollamas around one agent."""

    def __init__(self, seed: int) -> None:
        self.tally = Tally()
        self._random = random.Random(seed)
        self._events = Events()
        self._live: dict[str, Live] = {}
        self._asked: set[str] = set()
        self._ollamas = Ollamas(NAMES, MODELS, MAX_LOADED)
        given = frozenset({"max_connections", "num_parallel", "max_loaded_models"})
        specs = tuple(
            InstanceSpec(name, MAX_CONNECTIONS, SLOTS, MAX_LOADED, 24 * GIB, 4096, says=given) for name in NAMES
        )
        rules = (ModelRule("phi4:*", max_concurrent=3), ModelRule("gemma3:*", priority=-1))
        policy = Policy(hold_s=20.0, caller_weights={"10.0.0.1": 2.0})
        self.agent = Agent(FleetSpec(specs, rules, policy), Board(), _nothing_new, lambda: self._events.now_s)

    def run(self, requests: int) -> Tally:
        """Play so many requests, and the end."""
        began_s = time.perf_counter()
        self._events.every(POLL_S, self._poll)
        self._events.every(TICK_S, self.agent.tick)
        # Somebody always lists the models: an agent that hears of nobody for long believes in nothing any more.
        self._events.every(LISTS_S, lambda: self.agent.decide(self._facts("lists", Kind.LIST, None)))
        self._events.later(0.0, lambda: self._arrive(requests))
        self._events.play(lambda: self.tally.requests < requests)
        for number in range(STILL_RUNNING):
            self._ask(f"long{number}", self._facts(f"long{number}", Kind.INFERENCE, MODELS[number % 2]), FOR_EVER_S)
            self._events.play(for_s=1.0)
        self._events.play(
            lambda: bool(self.agent.hold) or any(live.service_s < FOR_EVER_S for live in self._live.values())
        )
        self._settle()
        self._count()
        for request_id in list(self._live):
            self._end(request_id, "--")
        self._settle()
        self.tally.grants_left = self.agent.board.grants
        self.tally.virtual_s, self.tally.wall_s = self._events.now_s, time.perf_counter() - began_s
        return self.tally

    def _any_short(self) -> bool:
        return any(live.service_s < FOR_EVER_S for live in self._live.values())

    def _settle(self) -> None:
        """One request's counts, the time after which lost lines are given up, and one more's."""
        for pause_s in (0.0, SETTLE_S + 0.1):
            self._events.play(for_s=pause_s)
            self.agent.decide(self._facts("lists", Kind.LIST, None))

    def _count(self) -> None:
        truth = Counter(live.server for live in self._live.values())
        own = {name: len(self.agent.board.granted(name)) for name in NAMES}
        self.tally.drift = {name: own[name] - truth[name] for name in NAMES if own[name] != truth[name]}
        self.tally.left_in_hold = len(self.agent.hold)
        self.tally.unanswered = len(self._asked)

    def _arrive(self, left: int) -> None:
        """A client sends a request; the next one comes in a moment, or in a burst."""
        if not left:
            return
        number, dice = self.tally.requests, self._random.random()
        self.tally.requests += 1
        kind = Kind.INFERENCE
        model: str | None = self._random.choice(MODELS)
        if dice < 0.05:
            kind = Kind.DESCRIBE
        elif dice < 0.07:
            model = UNKNOWN
        elif dice < 0.1:
            model = CLOUD
        elif dice < 0.15:
            kind, model = Kind.LIST, None
        facts = self._facts(f"r{number}", kind, model)
        self._ask(facts.request_id, facts, self._random.expovariate(1 / MEAN_SERVICE_S))
        per_s = ARRIVALS_PER_S[int(self._events.now_s / 30) % len(ARRIVALS_PER_S)]
        self._events.later(self._random.expovariate(per_s), lambda: self._arrive(left - 1))

    def _facts(self, request_id: str, kind: Kind, model: str | None) -> RequestFacts:
        return RequestFacts(
            request_id,
            kind,
            Dialect.OLLAMA,
            model,
            loads=self._loads(),
            caller=f"10.0.0.{self._random.randrange(5)}",
            body_bytes=self._random.randrange(40_000),
            num_ctx=8192 if self._random.random() < 0.02 else None,
            prefix=str(self._random.randrange(500)),
        )

    def _loads(self) -> dict[str, InstanceLoad]:
        counted = Counter(live.server for live in self._live.values() if live.server)
        self._watch(counted)
        return {
            name: InstanceLoad(
                min(counted[name], MAX_CONNECTIONS),
                max(0, counted[name] - MAX_CONNECTIONS),
                self._ollamas.is_up(name, self._events.now_s),
            )
            for name in NAMES
        }

    def _watch(self, counted: Counter[str]) -> None:
        drift = max(abs(len(self.agent.board.granted(name)) - counted[name]) for name in NAMES)
        self.tally.most_drift = max(self.tally.most_drift, drift)
        self.tally.most_held = max(self.tally.most_held, len(self.agent.hold))

    def _ask(self, request_id: str, facts: RequestFacts, service_s: float) -> None:
        """Ask the agent, and act on its answer."""
        self._live[request_id] = Live(facts, service_s, self._events.now_s)
        choice = self.agent.decide(facts)
        if service_s < FOR_EVER_S and self._random.random() < LEAVES:
            self._events.later(self._random.expovariate(1.0), lambda: self._leave(request_id))
        if self._random.random() < LATE_ANSWER:
            self.tally.late_answers += 1
            self._send(request_id, self._random.choice(NAMES))
        elif choice.action is Action.HOLD:
            self.tally.held += 1
            self._events.later(self._random.uniform(0.0, 0.02), lambda: self._ask_again(request_id))
        else:
            self._act(choice, facts)

    def _ask_again(self, request_id: str) -> None:
        """The answer was to wait: ask for the grant, unless the client has left."""
        if request_id in self._live:
            self._asked.add(request_id)
            if not self.agent.ask(request_id, self._granted):
                raise AssertionError(f"{request_id} is held, but not known")

    def _granted(self, choice: Choice, facts: RequestFacts) -> None:
        self._asked.remove(facts.request_id)
        if facts.request_id in self._live:
            self._act(choice, facts)

    def _act(self, choice: Choice, facts: RequestFacts) -> None:
        if choice.instance is None:
            self.tally.rejected += 1
            self.tally.turned_away += choice.reason is Reason.HOLD_TIMEOUT
            self._end(facts.request_id, "PR")
        else:
            self.tally.routed += 1
            self._send(facts.request_id, choice.instance)

    def _send(self, request_id: str, server: str) -> None:
        """Connect, which takes a moment, to the server or to another one."""
        is_long = self._live[request_id].service_s >= FOR_EVER_S
        if not is_long and self._random.random() < SENT_ON:
            self.tally.sent_on += 1
            server = self._random.choice([name for name in NAMES if name != server])
        slow = self._random.random() < SLOW_TO_CONNECT
        delay_s = self._random.uniform(0.0, 0.5 if slow else 0.09)
        self._events.later(delay_s, lambda: self._connect(request_id, server))

    def _connect(self, request_id: str, server: str) -> None:
        live = self._live.get(request_id)
        if live is None:
            return
        if not self._ollamas.is_up(server, self._events.now_s):
            self._end(request_id, "SC")
            return
        live.server = server
        if live.facts.model in MODELS and live.facts.kind is Kind.INFERENCE:
            self._ollamas.use(server, live.facts.model, self._events.now_s)
        if live.service_s < FOR_EVER_S:
            self._events.later(live.service_s, lambda: self._end(request_id, "--"))

    def _leave(self, request_id: str) -> None:
        if request_id in self._live:
            self.tally.left += 1
            self._end(request_id, "CD")

    def _end(self, request_id: str, termination: str) -> None:
        """The request is over: HAProxy counts it no more, and its line goes out; it comes a moment later, or never."""
        live = self._live.pop(request_id, None)
        if live is None:
            return
        if self._random.random() < LOST_LINE:
            self.tally.lost_lines += 1
            return
        total_s = self._events.now_s - live.began_s
        ending = Ending(0.1 * total_s, total_s, termination == "--")
        server = live.server or "<NOSRV>"
        self._events.later(self._random.expovariate(500.0), lambda: self.agent.ended(request_id, server, ending))

    def _poll(self) -> None:
        for name in NAMES:
            if self._random.random() < DEATHS_PER_S:
                self._die(name)
            self.agent.published(name, self._ollamas.state(name, self._events.now_s))

    def _die(self, name: str) -> None:
        """The instance is gone for a while, and with it all that it served."""
        self.tally.deaths += 1
        self._ollamas.die(name, self._events.now_s)
        for request_id, live in list(self._live.items()):
            if live.server == name and live.service_s < FOR_EVER_S:
                self._end(request_id, "SD")


async def _nothing_new() -> None:
    """Lists are always current here."""


@click.command()
@click.option("--requests", default=100_000, show_default=True)
@click.option("--seed", default=1, show_default=True)
def main(requests: int, seed: int) -> None:
    """Print what is left of so many requests; exit 1 when the agent's account is not HAProxy's."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(20))
    tally = Soak(seed).run(requests)
    click.echo(json.dumps({**asdict(tally), "seed": seed, "clean": tally.is_clean}))
    sys.exit(not tally.is_clean)


if __name__ == "__main__":
    main()
