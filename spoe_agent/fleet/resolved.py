"""The fleet as the rest of the product uses it: defaults merged, derived values worked out, all frozen.

Lives here: what follows from several keys of the fleet file.
"""

from __future__ import annotations

from collections.abc import Mapping
from zlib import crc32

from pydantic import BaseModel, ConfigDict

from spoe_agent.fleet.proxied import onward
from spoe_agent.fleet.schema import (
    CallerEntry,
    FleetFile,
    GpuDraft,
    GpuEntry,
    InstanceDraft,
    InstanceEntry,
    Listeners,
    Policies,
)
from spoe_agent.fleet.schema_front import KeySettings, TlsSettings
from spoe_agent.fleet.schema_haproxy import HAProxySettings
from spoe_agent.fleet.schema_models import ModelEntry
from spoe_agent.fleet.schema_ollama import OllamaSettings
from spoe_agent.fleet.schema_watch import Telemetry
from spoe_agent.fleet.units import Listen
from spoe_agent.fleet.urls import endpoint, is_name, machine, prefix

LOCAL_HOST = "localhost"
"""What every Ollama lets in as `Host`: on loopback it answers 403 to names that it does not know (server/routes.go
allowedHostsMiddleware), elsewhere it does not look. Whoever talks to an instance takes `Instance.host_header`.
"""

_MODELS_PER_GPU = 3
"""What OLLAMA_MAX_LOADED_MODELS=0 means per GPU, and without one (server/sched.go defaultModelsPerGPU)."""

_LARGE_GROUP_BYTES = 23 << 30
"""From here on Ollama gives a context of 32768 of itself (server/routes.go); from 47 GiB on eight times as much, which
several slots would fill."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Instance(_Frozen):
    """One Ollama server, nothing left open."""

    name: str
    url: str
    """`http://HOST:PORT`, or with `https` and a path; without a slash at the end."""
    host: str
    """IPv6 without brackets."""
    port: int
    has_tls: bool = False
    prefix: str = ""
    """The path below which a proxy has it: "/ollama"."""
    onward: Listen | None = None
    """Where HAProxy passes on what goes there, when a proxy has it."""
    ca_file: str | None = None
    """Certificates that prove the proxy to be who it says; None: those this system trusts."""
    gpus: tuple[int | str, ...] = ()
    vram_bytes: int | None = None
    """Memory of the whole GPU group; None: not known; 0: on the CPU."""
    num_parallel: int
    max_connections: int
    max_loaded_models: int
    """Resolved: Ollama's 0 is worked out here, and stays 0 in `ollama`."""
    says: frozenset[str] = frozenset()
    """Which of `num_parallel`, `max_loaded_models` and `max_connections` the file gives; others are worked out."""
    store: str
    """Instances with the same one share a model store."""
    ollama: OllamaSettings
    context_length: int
    """What it is to be started with: one for the whole fleet where the file does not say."""
    env: tuple[tuple[str, str], ...] = ()
    """Further variables of its environment."""

    @property
    def host_header(self) -> str:
        """The `Host` that requests, polls and probes carry alike: what answers one of them answers all."""
        if self.onward is None:
            return LOCAL_HOST
        port = 443 if self.has_tls else 80
        return str(Listen(self.host, self.port)).removesuffix(f":{port}")

    @property
    def is_here(self) -> bool:
        """Whether it is surely on this host."""
        return Listen(self.host, self.port).is_loopback

    @property
    def is_named(self) -> bool:
        """Its address may change: the name leads to another one then."""
        return is_name(self.host) and self.host.lower() != LOCAL_HOST

    @property
    def tag(self) -> str:
        """What stands for its address where HAProxy and the agent compare it: short, without `:` and spaces."""
        return f"{crc32(self.url.encode()):08x}"


class Fleet(_Frozen):
    """A fleet file that holds together."""

    listeners: Listeners
    keys: KeySettings | None = None
    tls: TlsSettings | None = None
    haproxy: HAProxySettings
    gpus: tuple[GpuEntry, ...] = ()
    instances: tuple[Instance, ...]
    models: tuple[ModelEntry, ...] = ()
    """In file order: the first that matches holds."""
    callers: tuple[CallerEntry, ...] = ()
    telemetry: Telemetry
    policies: Policies

    @property
    def checks_host(self) -> bool:
        """Whether requests under a foreign host name are turned away: where only this machine connects, as Ollama
        does it, because others' names for this one are not known; else when the file says which names there are.
        """
        return self.listeners.front.is_loopback or bool(self.policies.allowed_hosts)


def resolve(file: FleetFile) -> Fleet:
    """Work out what the file leaves open. The file's defaults must be merged into its instances already."""
    memory = gpu_memory(file.gpus)
    listens = onward(file.listeners.onward, (entry.url for entry in file.instances))
    context = 32768 if all((vram_bytes(one, memory) or 0) >= _LARGE_GROUP_BYTES for one in file.instances) else 4096
    return Fleet(
        listeners=file.listeners,
        keys=file.keys,
        tls=file.tls,
        haproxy=file.haproxy,
        gpus=file.gpus,
        instances=tuple(
            _instance(entry, memory, listen, context) for entry, listen in zip(file.instances, listens, strict=True)
        ),
        models=file.models,
        callers=file.callers,
        telemetry=file.telemetry,
        policies=file.policies,
    )


def _instance(entry: InstanceEntry, memory: Mapping[int | str, int], listen: Listen | None, context: int) -> Instance:
    address = endpoint(entry.url)
    loaded = entry.ollama.max_loaded_models or _MODELS_PER_GPU * max(1, len(entry.gpus))
    return Instance(
        name=entry.name,
        url=f"{entry.url.scheme}://{address}{prefix(entry.url)}",
        host=address.host,
        port=address.port,
        has_tls=entry.url.scheme == "https",
        prefix=prefix(entry.url),
        onward=listen,
        ca_file=entry.ca_file,
        gpus=entry.gpus,
        vram_bytes=vram_bytes(entry, memory),
        num_parallel=entry.num_parallel,
        max_connections=entry.max_connections or entry.num_parallel * loaded,
        max_loaded_models=loaded,
        says=_says(entry),
        store=entry.store or _store(machine(entry.url), entry.ollama.models),
        ollama=entry.ollama,
        context_length=entry.ollama.context_length or context,
        env=tuple(entry.env.items()),
    )


def _says(entry: InstanceEntry) -> frozenset[str]:
    given = {
        "num_parallel": "num_parallel" in entry.model_fields_set,
        "max_loaded_models": entry.ollama.max_loaded_models,
        "max_connections": entry.max_connections,
    }
    return frozenset(key for key, is_given in given.items() if is_given)


def _store(machine: str, models: str | None) -> str:
    """Return a name for the store of an instance that gives it none."""
    return machine + (f":{models}" if models else "")


def gpu_memory(gpus: tuple[GpuDraft, ...]) -> dict[int | str, int]:
    """Return the bytes of each GPU whose memory the file gives."""
    return {gpu.id: int(gpu.memory) for gpu in gpus if gpu.id is not None and gpu.memory is not None}


def vram_bytes(instance: InstanceDraft, memory: Mapping[int | str, int]) -> int | None:
    """Return the memory of an instance's GPU group: as given, else the sum over its GPUs if all are known. 0: none."""
    if instance.vram is not None:
        return int(instance.vram)
    if instance.gpus and all(gpu in memory for gpu in instance.gpus):
        return sum(memory[gpu] for gpu in instance.gpus)
    return None
