"""The fronts of a live run, by the name of their discrete-event arm."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from bench.live import configs
from bench.live.fleet_file import document
from bench.policies.arms import BASELINE, OURS
from spoe_agent.rig.haproxy import find_haproxy
from spoe_agent.rig.process import Process, RigError, accepts, free_port
from spoe_agent.rig.stack import Stack
from spoe_agent.simulator.virtual.fleet import FleetPlan
from spoe_agent.simulator.virtual.pointsman import max_connections

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Behind:
    """What a front is started for."""

    plan: FleetPlan
    names: Sequence[str]
    """Of the instances, in the fleet's order."""
    addresses: Sequence[str]
    """host:port"""
    time_scale: float
    folder: Path
    own: Path | None = None
    """The fleet file, where the instances are the user's own."""

    def upstreams(self) -> list[configs.Upstream]:
        """Return the instances as a front's configuration names them."""
        each = zip(self.names, self.addresses, self.plan.instances, strict=True)
        return [configs.Upstream(name, address, max_connections(profile)) for name, address, profile in each]


def find_nginx() -> str:
    """Return the nginx to use: $NGINX, else the one on the path (or in sbin). Raises RigError."""
    found = shutil.which(os.environ.get("NGINX", "nginx"), path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise RigError("nginx is not installed. Try: apt-get install nginx-light")
    return found


@asynccontextmanager
async def _nginx(behind: Behind) -> AsyncIterator[str]:
    binary, port = find_nginx(), free_port()
    config = behind.folder / "nginx.conf"
    config.write_text(configs.nginx(f"{HOST}:{port}", behind.upstreams(), behind.time_scale))
    command: list[str | Path] = [binary, "-e", "stderr", "-p", behind.folder, "-c", config]
    async with _running(Process("nginx", command, behind.folder), port) as url:
        yield url


@asynccontextmanager
async def _haproxy(behind: Behind, hashes_model: bool) -> AsyncIterator[str]:
    binary, port = find_haproxy(), free_port()
    config = behind.folder / "haproxy.cfg"
    config.write_text(configs.haproxy(f"{HOST}:{port}", behind.upstreams(), behind.time_scale, hashes_model))
    async with _running(Process("haproxy", [binary, "-db", "-f", config], behind.folder), port) as url:
        yield url


@asynccontextmanager
async def _running(process: Process, port: int) -> AsyncIterator[str]:
    async with process:
        await process.ready(partial(accepts, HOST, port))
        yield f"http://{HOST}:{port}"


@asynccontextmanager
async def _agent(behind: Behind) -> AsyncIterator[str]:
    own = behind.own or behind.folder / "own.yaml"
    if behind.own is None:
        own.write_text(yaml.safe_dump(document(behind.plan, behind.addresses, behind.time_scale)))
    async with Stack(behind.folder, find_haproxy(), own=own) as stack:
        yield stack.url


@dataclass(frozen=True, slots=True)
class LiveArm:
    """One front: how it is started, and what must be installed for it."""

    name: str
    start: Callable[[Behind], AbstractAsyncContextManager[str]]
    """Enters with the URL for clients. Raises RigError."""
    find: Callable[[], str]
    """Returns the program. Raises RigError."""


LIVE_ARMS = {
    arm.name: arm
    for arm in (
        LiveArm("nginx_leastconn", _nginx, find_nginx),
        LiveArm(BASELINE, partial(_haproxy, hashes_model=False), find_haproxy),
        LiveArm("bounded_hash", partial(_haproxy, hashes_model=True), find_haproxy),
        LiveArm(OURS, _agent, find_haproxy),
    )
}
