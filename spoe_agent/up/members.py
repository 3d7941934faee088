"""What is run for a fleet: programs with their command lines and environments, and where they listen once ready."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spoe_agent.fleet import Fleet, Instance, Listen
from spoe_agent.fleet.units import duration
from spoe_agent.haproxy import program
from spoe_agent.haproxy.render import haproxy_files
from spoe_agent.instances.environment import environment
from spoe_agent.instances.store import store_folder
from spoe_agent.mitmproxy.command import SCRIPT
from spoe_agent.routing.names import is_pattern

AGENT = "agent"
CONFIGS = ("sockets.cfg", "haproxy.cfg")
"""What HAProxy reads, in order."""

POINTSMAN = (sys.executable, "-m", "spoe_agent")
_GPUS_OF_A_TERMINAL = (
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "GGML_VK_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
)
SIMULATED_VRAM = "24GiB"
SIMULATED_SIZE = 4_700_000_000
"""Of a model of which the fleet file says neither `size` nor `vram`: a common one of 8 billion parameters in Q4."""


@dataclass(frozen=True, slots=True)
class Member:
    """One program."""

    name: str
    command: tuple[str, ...]
    listens: Listen
    """Where it accepts connections when it is ready."""
    environment: dict[str, str] = field(default_factory=dict)
    drains: bool = False
    """It ends by itself when told by SIGUSR1, once what runs there has ended (HAProxy's soft stop)."""
    sweeps: bool = True
    """What it leaves behind when it ends is ended too, before it is started again."""
    unset: tuple[str, ...] = ()
    """Variables of this process that it does not get."""

    def whole_environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """Return what it is started with."""
        return {name: value for name, value in inherited.items() if name not in self.unset} | self.environment


def ollamas(instances: Sequence[Instance], binary: str, inherited: Mapping[str, str]) -> list[Member]:
    """Return an Ollama for each instance, as the fleet file says, whatever is `inherited`. Raises UnnamedGpu."""
    unset = tuple(name for name in inherited if name.startswith("OLLAMA_") or name in _GPUS_OF_A_TERMINAL)
    return [
        Member(one.name, (binary, "serve"), _listen(one), {**_store(one), **environment(one)}, unset=unset)
        for one in instances
    ]


def _store(instance: Instance) -> dict[str, str]:
    """Return what tells an Ollama of a store of its own that the file gives no folder."""
    usual = Path.home() / ".ollama" / "models"
    return {} if store_folder(instance) == usual else {"OLLAMA_MODELS": str(store_folder(instance))}


def simulated(fleet: Fleet, instances: Sequence[Instance], folder: Path) -> list[Member]:
    """Return a simulated Ollama for each instance, with the models that the fleet file names; else the simulator's own.
    Their stores are below the folder.
    """
    models = [
        f"{rule.match}={int(rule.size or rule.vram or SIMULATED_SIZE)}"
        for rule in fleet.models
        if not is_pattern(rule.match)
    ]
    return [_simulated(one, models, folder) for one in instances]


def _simulated(instance: Instance, models: Sequence[str], folder: Path) -> Member:
    listen = _listen(instance)
    command = [*POINTSMAN, "simulate", "--listen", str(listen)]
    command += ["--vram", str(instance.vram_bytes or SIMULATED_VRAM)]
    command += ["--num-parallel", str(instance.num_parallel)]
    command += ["--max-loaded-models", str(instance.max_loaded_models)]
    if instance.ollama.keep_alive is not None:
        command += ["--keep-alive", duration(instance.ollama.keep_alive)]
    command += ["--store", str(folder / "stores" / instance.store.replace("/", "_"))]
    command += [part for model in models for part in ("--models", model)]
    return Member(instance.name, tuple(command), listen)


def agent(fleet: Fleet, file: Path, folder: Path, socket: Path, notify: str) -> Member:
    """Return the agent. `socket`: HAProxy's admin socket; `notify`: where the agent says that it is ready."""
    kept = "--state", str(folder / "learned.json")
    command = (*POINTSMAN, "serve", "--fleet", str(file), *kept, "--haproxy-socket", str(socket))
    # Its guard outlives it for a moment, on purpose.
    return Member(AGENT, command, fleet.listeners.check, {"NOTIFY_SOCKET": notify}, sweeps=False)


def haproxy(fleet: Fleet, binary: str, folder: Path) -> Member:
    """Return HAProxy, with its files in a folder."""
    command = (binary, "-db", *(part for name in CONFIGS for part in ("-f", str(folder / name))))
    return Member("haproxy", command, fleet.listeners.front, dict(program.ENVIRONMENT), drains=True)


def haproxy_texts(fleet: Fleet, socket: Path) -> dict[str, str]:
    """Return HAProxy's files by name. Over the socket the agent tells it who has which model."""
    return {**haproxy_files(fleet), "sockets.cfg": f"global\n    stats socket {socket} mode 600 level admin\n"}


def mitmproxy(fleet: Fleet, binary: str, file: Path) -> Member:
    """Return mitmdump with the addon, which needs neither agent nor HAProxy."""
    command = (binary, "-s", str(SCRIPT), "--set", f"pointsman_fleet={file}")
    return Member("mitmproxy", command, fleet.listeners.front)


def state_folder(file: Path, is_simulated: bool) -> Path:
    """Return the folder for what is kept between two runs of a fleet file: what was learned, HAProxy's files."""
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "pointsman"
    name = str(file.absolute()).strip("/").replace("/", "-")
    return base / name / ("simulated" if is_simulated else "up")


def _listen(instance: Instance) -> Listen:
    return Listen(instance.host, instance.port)
