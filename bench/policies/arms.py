"""The table of policies that are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.policies.all_warm import AllWarm, without_loading
from bench.policies.baselines import Greedy, LeastConn, NginxLeastConn, Prequal, Random, WarmBounded, WarmFirst
from bench.policies.bounded_hash import TUNED, BoundedHash
from bench.policies.static import Static
from spoe_agent.routing.specs import Weights
from spoe_agent.simulator import InstanceProfile, Model
from spoe_agent.simulator.virtual.fleet import FleetPlan
from spoe_agent.simulator.virtual.pointsman import PointsmanPolicy, Variant, max_connections
from spoe_agent.simulator.virtual.policy import RoutingPolicy
from spoe_agent.simulator.virtual.requests import Request


@dataclass(frozen=True, slots=True)
class Setting:
    """What a policy may be built from."""

    fleet: FleetPlan
    models: tuple[Model, ...]
    """Those that are asked for."""
    seed: int
    requests: Sequence[Request] = ()
    """All that will come, for policies that know the future."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One policy of the comparison."""

    name: str
    policy: Callable[[Setting], RoutingPolicy]
    is_limited: bool = False
    """Servers have a `maxconn` (nginx: `max_conns`)."""
    placements: int = 1
    """It is run so many times with other salts, and its figures are means over them."""
    hardware: Callable[[InstanceProfile], InstanceProfile] = lambda profile: profile
    """What the policy runs on, if not on the fleet as it is."""

    def limits(self, fleet: FleetPlan) -> list[int | None]:
        """Return each server's limit."""
        return [max_connections(profile) if self.is_limited else None for profile in fleet.instances]


def _ours(variant: Variant) -> Callable[[Setting], RoutingPolicy]:
    """The seed salts the ids of the requests, by which equals are told apart."""
    return lambda setting: PointsmanPolicy.of(setting.fleet, setting.models, replace(variant, salt=setting.seed))


def _varied(ending: str, variant: Variant) -> Arm:
    return Arm(f"{OURS}-{ending}", _ours(variant), is_limited=True, placements=SALTS)


BASELINE = "leastconn"
"""What ratios are to."""
IDEAL = "all_warm"
OURS = "pointsman"
SALTS = 4
"""Equals are told apart by requests' ids, and one early decision changes all later ones: of one run's figures some are
chance."""
SIMPLE = ("leastconn", "bounded_hash", "hash_tuned", "warm_first", "warm_1.5mean", "greedy", "prequal")
"""Rules of a line or two. Ours is held against the best of them, whichever that is in a cell."""

COMPARED = (
    Arm("nginx_leastconn", lambda _: NginxLeastConn(), is_limited=True),
    Arm(BASELINE, lambda _: LeastConn()),
    Arm("leastconn_maxconn", lambda _: LeastConn(), is_limited=True),
    # Where a hash puts models is luck, and two popular ones on one server cost much.
    Arm("bounded_hash", lambda setting: BoundedHash(len(setting.fleet.instances), setting.seed), placements=4),
    Arm("hash_tuned", lambda setting: BoundedHash(len(setting.fleet.instances), setting.seed, TUNED), placements=4),
    Arm("random", lambda setting: Random(setting.seed)),
    Arm("warm_first", lambda _: WarmFirst()),
    Arm("warm_1.5mean", lambda _: WarmBounded()),
    Arm("greedy", lambda _: Greedy()),
    Arm("prequal", lambda _: Prequal()),
    Arm(OURS, _ours(Variant()), is_limited=True, placements=SALTS),
    Arm("static", lambda setting: Static(setting.fleet, setting.models, setting.requests)),
    Arm(IDEAL, lambda setting: AllWarm(setting.fleet), hardware=without_loading),
)
"""What is run unless others are named. Those of the field choose only among servers that can hold the model, as
if models that fit only some had a backend of their own."""

ABLATIONS = (
    _varied("no-load", Variant(weights=Weights(load=0.0))),
    _varied("no-evict", Variant(weights=Weights(evict=0.0))),
    _varied("no-share", Variant(weights=Weights(share=0.0))),
    _varied("no-spread", Variant(weights=Weights(spread=0.0))),
    _varied("no-prefix", Variant(weights=Weights(prefix=0.0))),
    _varied("no-hold", Variant(hold_s=0.0)),
    _varied("no-steering", Variant(steers=False)),
)
"""Ours with one part switched off."""

BLIND = _varied("blind", Variant(is_told_context=False))
"""Ours with a fleet file that does not say `context_length`."""

MISTAKEN = (
    _varied("says-parallel-1", Variant(says_parallel=1)),
    _varied("says-loaded-6", Variant(says_loaded=6)),
)
"""Ours with a fleet file that is wrong."""

ARMS = {arm.name: arm for arm in (*COMPARED, *ABLATIONS, BLIND, *MISTAKEN)}
