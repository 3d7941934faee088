"""Which instance has which model, as a map that HAProxy goes by when the agent does not answer.

A line is a regex of a model's name in short form, and the instances that may serve it: `^llama3:latest$ ,gpu0+,gpu2,`
(`+`: loaded there). The first that matches holds. Of what is not known nothing is claimed: an instance whose lists were
never read may have any model. Pure: no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import translate
from typing import NamedTuple
from zlib import crc32

from spoe_agent.routing import FleetSpec, InstanceState, Kind, RequestFacts, Snapshot
from spoe_agent.routing.demand import Demand, Site
from spoe_agent.routing.eligibility import by_model
from spoe_agent.routing.names import canonical, display, is_cloud, is_pattern
from spoe_agent.routing.surface import Dialect

MODELS_MAP = "pointsman-models.map"
"""The file's name. By it the map is found at HAProxy's runtime API, so no other map should be called so."""

CLOUD = r":([^/:]*-)?cloud$"
"""Names of models that any Ollama forwards, as names.is_cloud has them."""

ANY_MODEL = ".*"

NOTHING = Snapshot(0.0)


class MapEntry(NamedTuple):
    """One line."""

    model: str
    """Regex over a model's short form."""
    instances: str


def entries(fleet: FleetSpec, snapshot: Snapshot = NOTHING) -> list[MapEntry]:
    """Return the map's lines: models that are known, then the rules of the fleet file for others, then the rest."""
    names = [spec.name for spec in fleet.instances]
    unlisted = _may_have_more(names, snapshot)
    found = {CLOUD: _value(names)}
    for model in sorted(
        {model for state in snapshot.instances.values() for model in (*state.installed, *state.loaded)}
    ):
        if not is_cloud(model):
            found[f"^{re.escape(display(model))}$"] = _value(_serving(model, fleet, snapshot))
    for rule in fleet.rules:
        found.setdefault(name_regex(rule.match), _value(n for n in unlisted if n in (rule.instances or names)))
    found.setdefault(ANY_MODEL, _value(unlisted))
    return [MapEntry(model, instances) for model, instances in found.items()]


def text(fleet: FleetSpec, lines: Iterable[MapEntry]) -> str:
    """Return the map's file."""
    return heading(fleet) + "".join(f"{model} {instances}\n" for model, instances in lines)


def heading(fleet: FleetSpec) -> str:
    """Return the file's first line: it changes when lines that were written before are no longer to be trusted."""
    about = repr([[spec.name for spec in fleet.instances], [(rule.match, rule.instances) for rule in fleet.rules]])
    return (
        f"# Model (regex) and its instances (+: loaded there); kept by the agent. Fleet {crc32(about.encode()):08x}\n"
    )


def name_regex(match: str) -> str:
    """Return a regex for the short form of a model's name, tag included (names.display): haproxy.cfg makes that."""
    if is_pattern(match):
        # HAProxy's regex knows neither the flags nor the end mark that Python puts around it.
        short = re.sub(r"^\(\?s:(.*)\)\\[zZ]$", r"\1", translate(match.strip().lower()))
    else:
        short = re.escape(display(canonical(match)))
    return f"^{short}$"


def _may_have_more(names: list[str], snapshot: Snapshot) -> list[str]:
    """Return the instances that may have models which no list shows: those whose lists were never read; and all, if
    all list the same, because then they share a store, and so a model that is new.
    """
    stores = [snapshot.state(name).installed for name in names if _is_listed(snapshot.state(name))]
    if len(stores) == len(names) and all(store == stores[0] for store in stores):
        return names
    return [name for name in names if not _is_listed(snapshot.state(name))]


def _is_listed(state: InstanceState) -> bool:
    return state.installed_at_s is not None


def _serving(model: str, fleet: FleetSpec, snapshot: Snapshot) -> Iterator[str]:
    """Yield the instances that may serve a model, marked where it is loaded. Health is for HAProxy's checks to tell."""
    facts = RequestFacts("", Kind.INFERENCE, Dialect.OLLAMA, model)
    demand = Demand.of(facts, fleet, snapshot)
    for spec in fleet.instances:
        site = Site.of(spec, facts, snapshot)
        if by_model(demand, site) is None:
            here = site.state.loaded.keys() | site.activity.loading.keys()
            yield f"{spec.name}+" if model in here - site.activity.leaving else spec.name


def _value(names: Iterable[str]) -> str:
    return "".join(f",{name}" for name in names) + ","
