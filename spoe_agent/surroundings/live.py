"""Whether all that a fleet file names is there: each Ollama, each port, HAProxy."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from spoe_agent.haproxy import program
from spoe_agent.haproxy.render import haproxy_files, write
from spoe_agent.instances.program import unfit
from spoe_agent.process.fronts import fronts
from spoe_agent.process.listening import ListenerAddress, addresses
from spoe_agent.process.owners import owners
from spoe_agent.process.taken import taken
from spoe_agent.surroundings.remark import Remark, note, ok, wrong
from spoe_agent.surroundings.seen import Seen

FRONTS = ("haproxy", "mitmdump", "mitmproxy", "mitmweb")


def answers(seen: Seen) -> Iterator[Remark]:
    """Each Ollama answers, and is new enough."""
    for one in seen.ollamas:
        name, version = one.instance.name, one.version
        if not version:
            yield wrong(f"{name}: {one.why}", "start it, or correct its url")
        elif unfit(version):
            yield wrong(f"{name}: Ollama {version} at {one.instance.url} {unfit(version)}", "update it")
        else:
            yield ok(f"{name}: Ollama {version} answers at {one.instance.url}")


def ports(seen: Seen) -> Iterator[Remark]:
    """Each address is ours, or free."""
    listeners = seen.fleet.listeners
    hung = [] if seen.has_agent else [one for one in owners(listeners.admin) if one.is_agent]
    for place in addresses(listeners):
        who = taken(place.listen, place.kind)
        if hung and place.key == "admin":
            why = f"the agent, process {hung[0].pid}, is there and does not answer: it hangs or is stopped"
            yield wrong(f"{place}: {why}", "start it anew; its log may say why")
        elif not seen.has_agent and not hung:
            yield _unless(who, place, "free: no agent runs")
        elif who:
            yield ok(f"{place}: the agent listens")
        else:
            why = "the agent that runs does not listen here: it was started with other listeners"
            yield wrong(f"{place}: {why}", "`pointsman restart` starts it with those of the file")
    for place in fronts(seen.fleet):
        who = taken(place.listen, place.kind)
        # Only HAProxy sends requests on to itself.
        is_ours = any(name in who for name in (FRONTS if place.key == "front" else FRONTS[:1]))
        yield ok(f"{place} is {who}") if is_ours else _unless(who, place, "free: HAProxy does not run")


def _unless(who: str, place: ListenerAddress, free: str) -> Remark:
    return wrong(f"{place} is {who}", "end it, or write another port") if who else note(f"{place} is {free}")


def haproxy(seen: Seen) -> Iterator[Remark]:
    """HAProxy will do, and takes what is rendered."""
    binary = seen.haproxy
    if binary is None:
        yield note("HAProxy is not on this host's path: the rendered files could not be tried")
        return
    try:
        version = program.version(binary)
        why = program.unfit(version)
        yield (
            wrong(f"HAProxy {version} at {binary} {why}", "update it") if why else ok(f"HAProxy {version} at {binary}")
        )
        with tempfile.TemporaryDirectory(prefix="pointsman-check-") as folder:
            write(haproxy_files(seen.fleet), Path(folder))
            refusal = program.refusal(binary, Path(folder) / "haproxy.cfg")
    except (OSError, subprocess.SubprocessError) as error:
        yield wrong(f"HAProxy at {binary} cannot be run: {error}")
        return
    yield wrong(f"HAProxy refuses the rendered files: {refusal}") if refusal else ok("HAProxy takes the rendered files")
