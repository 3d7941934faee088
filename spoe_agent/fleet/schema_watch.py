"""The fleet file's sections on watching: health, connection limits, GPUs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from spoe_agent.fleet.called import InstanceName
from spoe_agent.fleet.section import Section
from spoe_agent.fleet.units import Count, Seconds


class HealthPolicy(Section):
    """When an instance is doubted, and how it is asked to prove itself."""

    stall: Seconds = Field(default="10s", validate_default=True)
    """A loaded model that answers nothing for so long, and for ten times what it usually takes, is looked into."""
    load_stall: Seconds = Field(default="2m", validate_default=True)
    """A load that takes so long, and five times what it should, casts doubt on the instance's loading."""
    errors: Count = 2
    """So many answers in a row that are 5xx, or streams that break, cast doubt on the instance."""
    probe_interval: Seconds = Field(default="5s", validate_default=True)
    """Between two probes (requests of one token) of an instance that is in doubt."""
    probe_timeout: Seconds = Field(default="10s", validate_default=True)
    """How long a probe may take, beside the time to load a model where none is loaded."""


class LimitPolicy(Section):
    """Bounds of the connection limits that follow what the instances can do; `max_connections` is the ceiling."""

    follow: bool = True
    """HAProxy asks the agent for each instance's limit. false: `max_connections` always holds."""
    floor: Count = 1
    """No instance that is up gets fewer connections."""


class SignalPolicy(Section):
    """How old one kind of GPU reading may be, and what becomes of it then."""

    max_age: Seconds = Field(default="10s", validate_default=True)
    """Older readings are stale."""
    on_stale: Literal["use", "ignore", "exclude"] = "ignore"
    """use: the last reading still counts. ignore: as if it had never been read.
    exclude: the instance is passed over as long as another one may serve."""


class GpuSource(Section):
    """GPUs of another host, over HTTP."""

    url: Annotated[str, Field(pattern=r"^http://[^\s/]+(/\S*)?$", examples=["http://10.0.0.7:9605"])]
    """`pointsman telemetry --listen` over there; for an exporter, its page (http://10.0.0.7:9400/metrics)."""
    exporter: bool = False
    """It is a Prometheus exporter with the names of NVIDIA's dcgm-exporter."""
    instances: tuple[InstanceName, ...] = ()
    """Instances whose GPUs it reads. Left out: those whose url has the same host."""


class Telemetry(Section):
    """Where readings of GPUs come from, and how long they hold. Instances without `gpus` have none."""

    local: bool = True
    """Read the GPUs of this host for instances on loopback (NVIDIA through NVML, AMD through sysfs)."""
    sources: tuple[GpuSource, ...] = ()
    """GPUs of other hosts."""
    interval: Seconds = Field(default="2s", validate_default=True)
    """Time between two readings of a source."""
    timeout: Seconds = Field(default="2s", validate_default=True)
    """How long one reading may take."""
    memory: SignalPolicy = Field(default_factory=SignalPolicy)
    """Free memory, and what other programs hold."""
    throttle: SignalPolicy = Field(default_factory=SignalPolicy)
    """Clocks held down by heat or power."""
    faults: SignalPolicy = Field(
        default_factory=lambda: SignalPolicy.model_validate({"max_age": "60s", "on_stale": "use"}),
        json_schema_extra={"default": {"max_age": 60.0, "on_stale": "use"}},
    )
    """GPUs that are lost or report errors of their own."""
