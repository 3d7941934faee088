"""A compose file for the whole fleet: Ollama's image, the agent, HAProxy; all in the host's network. Pure.

So the fleet file's addresses hold inside as outside, and what is on loopback, without a password, stays there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from spoe_agent import __version__
from spoe_agent.fleet import Fleet, Instance
from spoe_agent.fleet.hosts import same_host
from spoe_agent.haproxy.program import ENVIRONMENT
from spoe_agent.instances.environment import NONE, environment

IMAGES = {"NVIDIA": "ollama/ollama", "AMD": "ollama/ollama:rocm", "": "ollama/ollama"}
HAPROXY = "haproxy:3.2"
AGENT = f"pointsman:{__version__}"
HEAD = f"""\
# Written by `pointsman render compose`; edit the fleet file instead, then render again.
# Once, in a checkout of Pointsman: docker build -t {AGENT} .
"""
CONFIG = "/usr/local/etc/haproxy"
"""Where HAProxy's image looks."""


class NotInContainers(Exception):
    """The fleet cannot be run so; the text says what to write."""


@dataclass(frozen=True, slots=True)
class Folders:
    """As the compose file names them, relative to its own folder."""

    fleet_file: str
    haproxy: str = "./haproxy"


def compose_file(fleet: Fleet, instances: Sequence[Instance], folders: Folders) -> str:
    """Return compose.yaml. `instances`: those that run on this host. Raises NotInContainers, UnnamedGpu."""
    for listen in (*fleet.listeners.spop, *(fleet.haproxy.spop or ())):
        if listen.path is not None:
            hint = "write HOST:PORT, like 127.0.0.1:9601"
            raise NotInContainers(f"{listen}: HAProxy in its container does not see that socket; {hint}")
    vendors = {vendor(one) for one in instances}
    services = {
        **{f"ollama-{one.name}": _ollama(one) for one in instances},
        "agent": _agent(fleet, folders, "NVIDIA" in vendors),
        "haproxy": _haproxy(fleet, folders),
    }
    volumes = dict.fromkeys(sorted({_volume(one) for one in instances if one.ollama.models is None} | {"pointsman"}))
    document = {"name": "pointsman", "services": services, "volumes": volumes}
    return HEAD + yaml.safe_dump(document, sort_keys=False, default_flow_style=False, width=1000)


def vendor(instance: Instance) -> str:
    """Return whose GPUs an instance has; "": none. GPUs that are not named by UUIDs count as NVIDIA's."""
    variables = environment(instance)
    if variables.get("CUDA_VISIBLE_DEVICES") != NONE:
        return "NVIDIA"
    return "AMD" if variables["ROCR_VISIBLE_DEVICES"] != NONE else ""


def _ollama(instance: Instance) -> dict[str, Any]:
    whose, models = vendor(instance), instance.ollama.models
    return {
        "image": IMAGES[whose],
        **_common(),
        "environment": _escaped(environment(instance)),
        "volumes": [_bind(models, models) if models else f"{_volume(instance)}:/root/.ollama"],
        "healthcheck": {"test": ["CMD", "ollama", "list"], "interval": "10s", "start_period": "30s"},
        **(_nvidia("gpu") if whose == "NVIDIA" else {}),
        **({"devices": ["/dev/kfd", "/dev/dri"]} if whose == "AMD" else {}),
    }


def _agent(fleet: Fleet, folders: Folders, reads_nvidia: bool) -> dict[str, Any]:
    files = fleet.haproxy.files
    return {
        "image": AGENT,
        **_common(),
        "cap_drop": ["ALL"],
        "read_only": True,
        "volumes": [
            {**_bind(folders.fleet_file, "/etc/pointsman/fleet.yaml"), "read_only": True},
            *([_bind(folders.haproxy, files)] if files else []),
            *([_only_read(_keys_folder(fleet.keys.file))] if fleet.keys else []),
            "pointsman:/var/lib/pointsman",
        ],
        **(_nvidia("gpu", "utility") if reads_nvidia else {}),
    }


def _keys_folder(file: str) -> str:
    """Return the folder of the keys: the file itself is another one after each change."""
    folder = str(Path(file).parent)
    if folder in ("/", "/etc/pointsman"):
        hint = "give it a folder of its own, like /etc/pointsman/keys/keys.json"
        raise NotInContainers(f"keys.file {file}: its folder is the agent's to see, and no more than that; {hint}")
    return folder


def _haproxy(fleet: Fleet, folders: Folders) -> dict[str, Any]:
    tls = [_only_read(fleet.tls.certificate)] if fleet.tls else []
    return {
        "image": HAPROXY,
        **_common(),
        "environment": dict(ENVIRONMENT),
        "cap_drop": ["ALL"],
        "volumes": [{**_bind(folders.haproxy, CONFIG), "read_only": True}, *tls],
        "depends_on": ["agent"],
    }


def _common() -> dict[str, Any]:
    return {"network_mode": "host", "restart": "unless-stopped", "security_opt": ["no-new-privileges:true"]}


def _nvidia(*capabilities: str) -> dict[str, Any]:
    """All of them: CUDA_VISIBLE_DEVICES says which, and numbers mean inside what they mean outside."""
    devices = [{"driver": "nvidia", "count": "all", "capabilities": list(capabilities)}]
    return {"deploy": {"resources": {"reservations": {"devices": devices}}}}


def _bind(source: str, target: str) -> dict[str, Any]:
    return {"type": "bind", "source": source.replace("$", "$$"), "target": target.replace("$", "$$")}


def _only_read(path: str) -> dict[str, Any]:
    return {**_bind(path, path), "read_only": True}


def _volume(instance: Instance) -> str:
    """One for all that share a store."""
    return "ollama" if instance.store == same_host(instance.host) else f"ollama-{instance.store}"


def _escaped(variables: dict[str, str]) -> dict[str, str]:
    """Compose fills in `$NAME`."""
    return {name: value.replace("$", "$$") for name, value in variables.items()}
