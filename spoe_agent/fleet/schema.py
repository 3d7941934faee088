"""The fleet file's shape: one pydantic model per section, documented for people and editors.

Lives here: keys, types, defaults, what each key means. Who may come in, and TLS: schema_front; health, connection
limits and GPUs: schema_watch; decision log and traces: schema_records; models: schema_models; where HAProxy is:
schema_haproxy; an Ollama's own settings: schema_ollama; what else holds for the whole fleet, CORS and bounds of
requests among it: Policies. What is worked out from several keys: resolved; what routing is told of them: specs.

The *Draft classes are the same sections with nothing required, so that a section with one bad key can still be
checked for all the rest.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from spoe_agent.fleet.called import InstanceName
from spoe_agent.fleet.schema_front import KeySettings, TlsSettings
from spoe_agent.fleet.schema_haproxy import HAProxySettings
from spoe_agent.fleet.schema_models import ModelDraft, ModelEntry
from spoe_agent.fleet.schema_ollama import OllamaSettings
from spoe_agent.fleet.schema_records import DecisionLogPolicy, TracesPolicy
from spoe_agent.fleet.schema_watch import HealthPolicy, LimitPolicy, Telemetry
from spoe_agent.fleet.section import Section
from spoe_agent.fleet.units import (
    AbsolutePath,
    Count,
    FrontPrefix,
    GpuId,
    GpuMemory,
    GroupMemory,
    HostGlob,
    Listens,
    Network,
    Origin,
    Seconds,
    SecondsOrZero,
    Size,
    TcpListen,
)
from spoe_agent.fleet.urls import InstanceUrl
from spoe_agent.fleet.variables import Variables
from spoe_agent.routing.facts import LogCaller

_LOCAL_ORIGINS = tuple(
    f"{scheme}://{host}{port}"
    for host in ("localhost", "127.0.0.1", "0.0.0.0")
    for scheme in ("http", "https")
    for port in ("", ":*")
)
_APP_ORIGINS = ("app://*", "file://*", "tauri://*", "vscode-webview://*", "vscode-file://*")
OLLAMA_ORIGINS = _LOCAL_ORIGINS + _APP_ORIGINS
"""Origins that Ollama itself lets in (envconfig/config.go AllowedOrigins)."""


class Listeners(Section):
    """Addresses of Pointsman's own ports. All on loopback unless you say otherwise."""

    front: TcpListen = Field(default="127.0.0.1:11434", validate_default=True)
    """Where clients connect: HAProxy, or mitmproxy in development. 0.0.0.0:11434 serves the network,
    which needs `keys`."""
    insecure: bool = False
    """Let `front` be on an address that other hosts reach although no keys are asked for: true says that whoever
    reaches it may use, pull and delete every model."""
    prefix: FrontPrefix = ""
    """Path below which clients find Ollama's own (`/ollama`: then /ollama/api/chat is /api/chat), where a proxy or an
    ingress passes it on as it is. What stands beside it gets 404, but for /healthz and /readyz."""
    spop: Listens = Field(default="127.0.0.1:9601", validate_default=True)
    """Where the agent waits for HAProxy: unix@PATH or HOST:PORT; or a list, all of them the same
    agent's: HAProxy asks at the first, and at the others when that fails. A fleet has one agent."""
    log: TcpListen = Field(default="127.0.0.1:9603", validate_default=True)
    """UDP: HAProxy sends one JSON line per request here, which is how the agent learns that a request ended."""
    check: TcpListen = Field(default="127.0.0.1:9602", validate_default=True)
    """HAProxy asks here what each instance's limit is (its agent-check)."""
    admin: TcpListen = Field(default="127.0.0.1:9604", validate_default=True)
    """What `pointsman status`, `drain` and `ready` talk to. It has no password unless `keys.admin` says so: keep it on
    loopback."""
    door: TcpListen = Field(default="127.0.0.1:9607", validate_default=True)
    """Where HAProxy finds lists of the whole fleet (`/api/tags` and its like), and has several model stores changed."""
    again: TcpListen = Field(default="127.0.0.1:9606", validate_default=True)
    """Where HAProxy passes on to itself what an instance did not take. Nobody else needs to reach it."""
    peers: TcpListen = Field(default="127.0.0.1:9608", validate_default=True)
    """Where HAProxy hands its counts of requests by key to the process that a reload starts; used with `keys` only.
    Nobody else needs to reach it."""
    onward: TcpListen = Field(default="127.0.0.1:9610", validate_default=True)
    """Where HAProxy passes on to itself what goes to instances with https or a path in their url: one port for each of
    them, from this one on. Nobody else needs to reach these."""
    trusted_network: bool = False
    """Let spop, log, check, admin and door be on addresses that other hosts reach, as when HAProxy and the agent are in
    different containers. None of them has a password: true says that you trust everybody who reaches them."""


class GpuDraft(Section):
    """`GpuEntry` with nothing required."""

    id: GpuId | None = None
    memory: GpuMemory | None = None
    """Memory of this GPU that Ollama may use. An instance's `vram` defaults to the sum over its GPUs."""


class GpuEntry(GpuDraft):
    """One GPU of the machine."""

    id: GpuId
    """Index, UUID ("GPU-...", surest: indexes can change order) or PCI bus id ("0000:3b:00.0")."""


class InstanceIdentity(Section):
    """What no two instances share; nothing required, see `InstanceEntry`."""

    name: InstanceName | None = None
    url: InstanceUrl | None = None
    gpus: tuple[GpuId, ...] = ()
    """The GPUs this Ollama is bound to (CUDA_VISIBLE_DEVICES or ROCR_VISIBLE_DEVICES, which know UUIDs and indexes).
    Empty: not known, or none (`vram: 0`)."""


class InstanceSettings(Section):
    """What `defaults` may say for all instances. An instance's own keys win."""

    shared: bool = False
    """Allow that another instance uses one of these GPUs too; must be true on both. Then give each its `vram`."""
    vram: GroupMemory | None = None
    """Memory of the whole GPU group. Left out: the sum of its GPUs' `memory`, when all are given.
    0: this Ollama has no GPU, all its models run on the CPU."""
    num_parallel: Count = 1
    """OLLAMA_NUM_PARALLEL: requests that a loaded model serves at a time. Should be what the Ollama runs with:
    where the agent finds something else it uses that, and `status` says so."""
    max_connections: Count | None = None
    """Requests that HAProxy lets through to this instance at a time; more wait in its queue.
    Left out: num_parallel x the models it can keep loaded."""
    store: InstanceName | None = None
    """Name of its model store; instances with the same one share it. Left out: those on one host with the same
    `ollama.models`, or none, share one. Each store is written by one of its instances; a model is pulled into all
    stores, or those that it is pinned to."""
    ca_file: AbsolutePath | None = None
    """For https: the certificates (PEM) that the proxy's own must be signed by. Left out: those this system trusts."""
    ollama: OllamaSettings = Field(default_factory=OllamaSettings)
    """Further settings of this Ollama."""
    env: Annotated[Variables, Field(examples=[{"OLLAMA_DEBUG": "1"}])] = Field(default_factory=dict)
    """Further variables of its environment, for what has no key here. `defaults` and an instance's own are merged."""


class InstanceDraft(InstanceSettings, InstanceIdentity):
    """`InstanceEntry` with nothing required."""


class InstanceEntry(InstanceDraft):
    """One Ollama server."""

    name: InstanceName
    """Its name everywhere: HAProxy's server, logs, pins. Letters, digits, `_`, `.` and `-`."""
    url: InstanceUrl
    """Where it listens: http://HOST:PORT (its OLLAMA_HOST). Behind a proxy: https://HOST:PORT, or with a path."""


class PollPolicy(Section):
    """How often each Ollama is asked what it has loaded, and how old an answer may be."""

    interval: Seconds = Field(default="1s", validate_default=True)
    """Time between two readings of /api/ps."""
    timeout: Seconds = Field(default="2s", validate_default=True)
    """How long one reading may take. Ollama's lists wait while it loads or unloads a model."""
    max_age: Seconds = Field(default="10s", validate_default=True)
    """Older readings no longer prove that a model is loaded."""
    tags_interval: Seconds = Field(default="10s", validate_default=True)
    """Time between two readings of /api/tags, the installed models. A request for a model that nobody has makes the
    agent read them at once, at most every second."""


class CallerEntry(Section):
    """One caller whose share of held requests is not 1."""

    caller: Annotated[str, Field(min_length=1, max_length=200, examples=["10.0.0.5"])]
    """Its key's name. Without `keys`: its address, or the number that `pointsman caller` prints for its credentials."""
    weight: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 1.0
    """Its share: 2 gets twice the service of 1 while both wait."""


class Policies(Section):
    """Bounds for the whole fleet."""

    max_inspected_body: Annotated[Size, Field(ge=64 << 10, le=128 << 20, examples=["64KiB", "4MiB"])] = Field(
        default="31MiB", validate_default=True
    )
    """How large a request body may be that does not name its model at the very beginning (64KiB to 128MiB): it is kept
    until the model is found, and then sent on. Larger ones need `model` first, or the header X-Model. From 32MiB on
    HAProxy 2.6 takes each buffer from the kernel (glibc's mmap threshold), which costs it two thirds of its speed."""
    max_body: Size = Field(default="1GiB", validate_default=True)
    """Larger requests get 413; models' files (blobs) may have any size. Of a body that does not say its size
    (chunked) only what is above `max_inspected_body` is not limited."""
    max_header: Annotated[Size, Field(ge=4 << 10, le=64 << 10, examples=["16KiB"])] = Field(
        default="32KiB", validate_default=True
    )
    """Requests whose headers are larger together get 431."""
    header_timeout: Seconds = Field(default="30s", validate_default=True)
    """Whoever has not sent a request's headers by then gets 408."""
    idle_timeout: Seconds = Field(default="60s", validate_default=True)
    """A connection without a request is closed after so long."""
    max_connections_per_address: Count = 512
    """Connections that one address may have; further ones are closed. Loopback and `trusted_proxies` may have any
    number."""
    retry_after: Annotated[Seconds, Field(ge=1)] = Field(default="5s", validate_default=True)
    """What a caller is told to wait who is turned away because no instance can take the request."""
    explain_header: bool = True
    """Add `x-pointsman: INSTANCE REASON` to responses."""
    queue_timeout: Seconds = Field(default="10m", validate_default=True)
    """How long a request may wait in HAProxy's queue for a slot."""
    response_timeout: Seconds = Field(default="30m", validate_default=True)
    """How long Ollama may be silent: it sends nothing while a model loads, which takes minutes."""
    client_timeout: Seconds = Field(default="60s", validate_default=True)
    """How long a client may send nothing in the middle of a request; then it gets 408 (400 when a part of it is at an
    instance already). Slow is not silent: how long the whole request takes is not limited. HAProxy before 3.0 also
    drops whoever takes nothing of an answer for so long, and does not time the rest of a body that is larger than
    `max_inspected_body`."""
    hold_timeout: SecondsOrZero = Field(default="60s", validate_default=True)
    """How long a request is held in one fair queue until a slot is free; then it gets 503. 0: nothing is held,
    requests wait unordered in HAProxy and in Ollama."""
    allowed_origins: tuple[Origin, ...] = OLLAMA_ORIGINS
    """Browser origins that may call, `*` for any part. By default those that Ollama itself lets in."""
    allowed_hosts: tuple[HostGlob, ...] = ()
    """Further host names under which requests may come, `*` for any part; a TLS proxy in front may need its own here.
    Always: localhost, *.localhost, *.local, *.internal, this machine's name, and loopback and private addresses.
    Others get 403 when `listeners.front` is on loopback, or when names are given here; ["*"] lets all in."""
    log_caller: LogCaller = "name"
    """Whose request a line of HAProxy's log, and of the decision log, says that it is: by key's name or address; by a
    hash of that; or not at all."""
    log_decisions: bool = False
    """Have the agent's log say of each request in one line where it went, and why. With all that was weighed:
    `pointsman serve --log-level debug`."""
    trusted_proxies: tuple[Network, ...] = ()
    """Addresses and networks of proxies whose word on the client's address is taken (X-Forwarded-For, else Forwarded):
    else all who come through one are one caller. Clients must not reach the front past them, or they can lie."""
    poll: PollPolicy = Field(default_factory=PollPolicy)
    """Reading the state of the instances."""
    health: HealthPolicy = Field(default_factory=HealthPolicy)
    """Doubting instances that answer lists but not prompts."""
    limits: LimitPolicy = Field(default_factory=LimitPolicy)
    """Connection limits that follow what the instances can do."""
    watch: bool = False
    """Have the agent put an edit of this file in force by itself, a few seconds after it was saved. HAProxy is told of
    nothing: what needs that (instances that are new or elsewhere, listeners) stands in `pointsman status` until
    `pointsman apply`."""
    decision_log: DecisionLogPolicy = Field(default_factory=DecisionLogPolicy)
    """Every request in a file."""
    traces: TracesPolicy = Field(default_factory=TracesPolicy)
    """Decisions among other programs' traces."""


class FleetDraft(Section):
    """`FleetFile` with nothing required."""

    listeners: Listeners = Field(default_factory=Listeners)
    """Addresses of Pointsman's own ports."""
    keys: KeySettings | None = None
    """Who may come in. Left out: everybody who reaches `listeners.front`."""
    tls: TlsSettings | None = None
    """Left out: clients speak plain HTTP."""
    haproxy: HAProxySettings = Field(default_factory=HAProxySettings)
    """HAProxy's files, how it is told of them, and how it finds the agent."""
    gpus: tuple[GpuDraft, ...] = ()
    defaults: InstanceSettings = Field(default_factory=InstanceSettings)
    """Merged under each instance; an instance's own keys win."""
    instances: tuple[InstanceDraft, ...] = ()
    models: tuple[ModelDraft, ...] = ()
    callers: tuple[CallerEntry, ...] = ()
    """Shares of held requests, where they are not equal."""
    telemetry: Telemetry = Field(default_factory=Telemetry)
    """Reading GPUs."""
    policies: Policies = Field(default_factory=Policies)
    """Limits, times and browser origins for the whole fleet."""


class FleetFile(FleetDraft):
    """Several Ollama instances behind one address: the one source for the agent, HAProxy and service files."""

    model_config = ConfigDict(title="Pointsman fleet file")

    gpus: tuple[GpuEntry, ...] = ()
    """The machine's GPUs, where you want their memory known or instances' GPU ids checked."""
    instances: Annotated[
        tuple[InstanceEntry, ...],
        Field(min_length=1, examples=[[{"name": "gpu0", "url": "http://127.0.0.1:11435"}]]),
    ]
    """The Ollama servers."""
    models: tuple[ModelEntry, ...] = ()
    """What you know of some models: pins, memory, slots. The first entry that matches a model holds."""


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the fleet file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **FleetFile.model_json_schema()}
