"""Rules that join several values of the fleet file.

Lives here: one small function per rule, all in `CHECKS`. They get a draft: what could be read, with defaults merged. A
rule says nothing about what is missing from it, and names in `depends` what else it rests on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from itertools import combinations

from pydantic import ByteSize

from spoe_agent.fleet.exposure import exposed, lasting_keys, open_front
from spoe_agent.fleet.gpu_checks import GPU_CHECKS
from spoe_agent.fleet.hosts import canonical_host, is_local
from spoe_agent.fleet.problems import Finding, Path, called, shown
from spoe_agent.fleet.proxied import certificates, onward
from spoe_agent.fleet.resolved import gpu_memory, vram_bytes
from spoe_agent.fleet.schema import FleetDraft, InstanceDraft
from spoe_agent.fleet.schema_models import ModelDraft
from spoe_agent.fleet.units import WILDCARD_HOSTS, Listen
from spoe_agent.fleet.urls import FIRST_PORT, endpoint, prefix
from spoe_agent.routing.names import canonical, is_pattern, matches

Findings = Iterator[Finding]


def instance_names(fleet: FleetDraft) -> Findings:
    """Names are HAProxy's server names and what pins mean: one instance each."""
    first: dict[str, int] = {}
    for index, instance in enumerate(fleet.instances):
        if instance.name is None:
            continue
        if instance.name in first:
            message = f"{instance.name} is also the name of instances[{first[instance.name]}]"
            yield Finding(("instances", index, "name"), message, "give each instance its own name")
        first.setdefault(instance.name, index)


def addresses(fleet: FleetDraft) -> Findings:
    """No two TCP listeners, Ollamas included, have one address. The log is UDP, so it cannot clash."""
    places = list(_addresses(fleet))
    clashing: set[Path] = set()
    for (path, listen), (later_path, later) in combinations(places, 2):
        if later_path not in clashing and _clash(listen, later) and not _are_apart(fleet, path, later_path):
            clashing.add(later_path)
            hint = "give each its own port" if later_path[0] != "instances" else _port_hint(places)
            yield Finding(later_path, f"{later} is taken by {_place(path, fleet)}", hint, depends=(path,))


def _addresses(fleet: FleetDraft) -> Iterator[tuple[Path, Listen]]:
    yield ("listeners", "front"), fleet.listeners.front
    for listen in fleet.listeners.spop:
        yield ("listeners", "spop"), listen
    yield ("listeners", "check"), fleet.listeners.check
    yield ("listeners", "admin"), fleet.listeners.admin
    yield ("listeners", "door"), fleet.listeners.door
    passed_on = onward(fleet.listeners.onward, (one.url for one in fleet.instances))
    yield from ((("listeners", "onward"), listen) for listen in passed_on if listen is not None)
    yield ("listeners", "again"), fleet.listeners.again
    if fleet.keys is not None:
        yield ("listeners", "peers"), fleet.listeners.peers
    if fleet.tls is not None and fleet.tls.redirect_from is not None:
        yield ("tls", "redirect_from"), fleet.tls.redirect_from
    for index, instance in enumerate(fleet.instances):
        if instance.url is not None:
            yield ("instances", index, "url"), endpoint(instance.url)


def _clash(one: Listen, other: Listen) -> bool:
    if one.path or other.path:
        return one == other
    hosts = {canonical_host(one.host), canonical_host(other.host)}
    wildcard = bool(hosts & WILDCARD_HOSTS) and all(map(is_local, hosts))
    return one.port == other.port and (len(hosts) == 1 or wildcard)


def _are_apart(fleet: FleetDraft, path: Path, later: Path) -> bool:
    """Several Ollamas may be behind one proxy, each below a path of its own."""
    urls = [fleet.instances[int(place[1])].url for place in (path, later) if place[0] == "instances"]
    return len({prefix(url) for url in urls if url is not None}) == 2


def _place(path: Path, fleet: FleetDraft) -> str:
    if path[0] != "instances":
        return f"{path[0]}.{path[1]}"
    return called(int(path[1]), fleet.instances[int(path[1])].name)


def _port_hint(places: list[tuple[Path, Listen]]) -> str:
    taken = {listen.port for _, listen in places}
    free = next(port for port in range(FIRST_PORT, 65536) if port not in taken)
    return f"let this Ollama listen on another port, like {free}"


def connections(fleet: FleetDraft) -> Findings:
    """Fewer connections than slots would leave slots of one model empty for ever."""
    for index, instance in enumerate(fleet.instances):
        if instance.max_connections is not None and instance.max_connections < instance.num_parallel:
            message = f"{instance.max_connections} is below num_parallel {instance.num_parallel}"
            hint = f"write at least {instance.num_parallel}, or leave it out"
            yield Finding(("instances", index, "max_connections"), message, hint)


def pins(fleet: FleetDraft) -> Findings:
    """Pins name instances that exist."""
    names = [instance.name for instance in fleet.instances if instance.name is not None]
    if len(names) < len(fleet.instances):
        return
    for index, rule in enumerate(fleet.models):
        for position, pin in enumerate(rule.instances or ()):
            if pin not in names:
                close = get_close_matches(pin, names, n=1)
                hint = f"did you mean {close[0]}?" if close else f"instances are {', '.join(names)}"
                path = ("models", index, "instances", position)
                yield Finding(path, f"there is no instance {pin}", hint, depends=(("instances",),))


def rule_names(fleet: FleetDraft) -> Findings:
    """A rule without wildcards names a model that Ollama would accept."""
    for index, rule in enumerate(fleet.models):
        if rule.match is not None and _model_key(rule.match) is None and not is_pattern(rule.match):
            hint = "write a name like llama3.1:70b, or a pattern like hf.co/*"
            yield Finding(("models", index, "match"), f"{shown(rule.match)} is not a model name", hint)


def _model_key(match: str) -> str | None:
    if is_pattern(match):
        return None
    try:
        return canonical(match)
    except ValueError:
        return None


def rules_are_reached(fleet: FleetDraft) -> Findings:
    """The first rule that matches holds, so a later one that says the same models never does."""
    for index, rule in enumerate(fleet.models):
        for earlier, other in enumerate(fleet.models[:index]):
            if rule.match is not None and other.match is not None and _covers(other.match, rule.match):
                message = f"is never reached: models[{earlier}] ({shown(other.match)}) matches first"
                yield Finding(("models", index, "match"), message, "merge the two, or put the narrower one first")
                break


def _covers(earlier: str, later: str) -> bool:
    if is_pattern(later):
        return earlier.strip() == "*" or earlier.strip().lower() == later.strip().lower()
    key = _model_key(later)
    return key is not None and matches(earlier, key)


def rules_fit(fleet: FleetDraft) -> Findings:
    """A model fits at least one of the instances that may serve it."""
    memory = gpu_memory(fleet.gpus)
    for index, rule in enumerate(fleet.models):
        may = [n for n, instance in enumerate(fleet.instances) if _may_serve(rule, instance)]
        rooms = [vram_bytes(fleet.instances[n], memory) for n in may]
        known = [room for room in rooms if room]  # 0 is the CPU, which takes any
        if rule.vram is None or not known or len(known) < len(rooms) or max(known) >= rule.vram:
            continue
        where = ", ".join(called(n, fleet.instances[n].name) for n in may)
        message = f"{_gib(rule.vram)} fits none of its instances: {where} have at most {_gib(max(known))}"
        hint = "pin it to a larger instance, or correct vram"
        yield Finding(("models", index, "vram"), message, hint, depends=_rooms_rest_on(fleet, index))


def _rooms_rest_on(fleet: FleetDraft, rule: int) -> tuple[Path, ...]:
    keys = [("instances", n, key) for n in range(len(fleet.instances)) for key in ("name", "gpus", "vram")]
    return (("models", rule, "instances"), ("defaults", "vram"), *keys)


def _may_serve(rule: ModelDraft, instance: InstanceDraft) -> bool:
    return rule.instances is None or instance.name in rule.instances


def _gib(size: int) -> str:
    return ByteSize(size).human_readable()


def poll_ages(fleet: FleetDraft) -> Findings:
    """Readings must come, and be given up, before the last one is too old to count."""
    poll = fleet.policies.poll
    for key, value in (("interval", poll.interval), ("timeout", poll.timeout)):
        if value > poll.max_age:
            message = f"{key} {value:g}s is above max_age {poll.max_age:g}s: every reading would be too old"
            path = ("policies", "poll", key)
            hint = f"write {key} below {poll.max_age:g}s, or a larger max_age"
            yield Finding(path, message, hint, depends=(("policies", "poll", "max_age"),))


def cache_types(fleet: FleetDraft) -> Findings:
    """llama.cpp quantizes the cache with flash attention only: without it, loads fail."""
    for index, instance in enumerate(fleet.instances):
        kind = instance.ollama.kv_cache_type
        if kind not in (None, "f16") and instance.ollama.flash_attention is False:
            keys = [(*place, "ollama", "flash_attention") for place in (("instances", index), ("defaults",))]
            message = f"{kind} needs flash attention, and flash_attention is false"
            hint = "write flash_attention: true, or kv_cache_type: f16"
            yield Finding(("instances", index, "ollama", "kv_cache_type"), message, hint, depends=tuple(keys))


CHECKS: tuple[Callable[[FleetDraft], Findings], ...] = (
    instance_names,
    addresses,
    exposed,
    open_front,
    lasting_keys,
    certificates,
    connections,
    cache_types,
    pins,
    rule_names,
    rules_are_reached,
    rules_fit,
    poll_ages,
    *GPU_CHECKS,
)
