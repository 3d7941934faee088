"""Units of systemd: one for each Ollama, one for the agent, and what HAProxy's own unit needs beside. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from jinja2 import Environment, PackageLoader, StrictUndefined

from spoe_agent.fleet import Fleet, Instance
from spoe_agent.fleet.hosts import same_host
from spoe_agent.haproxy.program import ENVIRONMENT
from spoe_agent.instances.environment import NONE, environment

FILES = "/etc/pointsman/haproxy"
"""Where HAProxy's files are taken to be, when the fleet file does not say."""

AGENT = "pointsman"
"""The user that the agent's unit runs as."""

OWN_FOLDERS = {"/run/pointsman", "/var/lib/pointsman"}
"""systemd makes these for it (RuntimeDirectory, StateDirectory)."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Absolute paths on the host that runs the units."""

    ollama: str
    pointsman: str
    fleet_file: str


def units(fleet: Fleet, instances: Sequence[Instance], programs: Programs) -> dict[str, str]:
    """Return the files by name, relative to /etc/systemd/system. `instances`: those that run on that host, their GPUs
    named as the drivers know them. Raises UnnamedGpu.
    """
    render = Environment(
        loader=PackageLoader("spoe_agent.render"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    files = fleet.haproxy.files or FILES
    agent = {
        "programs": {"pointsman": _word(programs.pointsman), "fleet_file": _word(programs.fleet_file)},
        "instances": [one.name for one in instances],
        "writes": [_word(path) for path in _written_by_agent(fleet)],
        "by_socket": any(listen.path for listen in (*fleet.listeners.spop, *(fleet.haproxy.spop or ()))),
        "at_runtime": bool(fleet.haproxy.runtime),
    }
    haproxy = {"files": files, "environment": ENVIRONMENT}
    return {
        **{
            f"ollama-{one.name}.service": render.get_template("ollama.service.j2").render(_ollama(one, programs))
            for one in instances
        },
        "pointsman.service": render.get_template("pointsman.service.j2").render(agent),
        "haproxy.service.d/pointsman.conf": render.get_template("haproxy.conf.j2").render(haproxy),
        "pointsman.sysusers": render.get_template("pointsman.sysusers.j2").render(),
    }


def _ollama(instance: Instance, programs: Programs) -> dict[str, object]:
    variables = environment(instance)
    models = instance.ollama.models
    folder = home(instance)
    return {
        "name": instance.name,
        "program": _word(programs.ollama),
        "folder": folder,
        # First, so that `env` may say otherwise.
        "variables": [_word(f"{name}={value}") for name, value in {"HOME": f"/var/lib/{folder}", **variables}.items()],
        "models": _word(models) if models else "",
        "at_home": bool(models) and PurePosixPath(models or "/").parts[1:2] in (("home",), ("root",)),
        # Not said: it takes whatever it finds.
        "nvidia": variables.get("CUDA_VISIBLE_DEVICES") != NONE,
        "amd": variables.get("ROCR_VISIBLE_DEVICES") != NONE,
    }


def home(instance: Instance) -> str:
    """Return the folder below /var/lib that is an Ollama's home, where its models are unless it is told another place:
    one for all that share a store.
    """
    has_own = instance.ollama.models is None and instance.store != same_host(instance.host)
    return f"ollama/{instance.store}" if has_own else "ollama"


def _written_by_agent(fleet: Fleet) -> list[str]:
    """Return folders outside of the agent's own: HAProxy's map of models, its socket where HAProxy sees it, and the
    decision log's.
    """
    files = [*(listen.path for listen in fleet.listeners.spop), fleet.policies.decision_log.file]
    folders = {str(PurePosixPath(file).parent) for file in files if file}
    return sorted({*([fleet.haproxy.files] if fleet.haproxy.files else []), *folders} - OWN_FOLDERS)


def _word(text: str) -> str:
    """Return a word as units take it for what it is (systemd.syntax(7), systemd.unit(5) Specifiers)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'
