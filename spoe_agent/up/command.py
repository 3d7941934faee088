"""`pointsman up`: options, the checks before anything starts, and the run."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from os import environ
from pathlib import Path

import click

from spoe_agent import faults
from spoe_agent.fleet import Fleet, FleetError, Instance, find, load
from spoe_agent.fleet.option import fleet_option
from spoe_agent.fleet.schema_haproxy import HAProxySettings
from spoe_agent.gpus.named import by_uuid, read_here
from spoe_agent.instances import program as ollama
from spoe_agent.instances.environment import UnnamedGpu
from spoe_agent.instances.here import here
from spoe_agent.process.quiet import quiet
from spoe_agent.up import health, members, obstacles
from spoe_agent.up.group import Reaper
from spoe_agent.up.notified import Notified
from spoe_agent.up.output import Output
from spoe_agent.up.run import UP, ProgramNotStarted, Running

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
KEEPER_DELAY_S = 1.0
SOCKET = "haproxy.sock"


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What is to run, nothing left open."""

    file: Path
    fleet: Fleet
    instances: tuple[Instance, ...]
    ollamas: tuple[members.Member, ...]
    front: str
    binary: str
    """The front's."""
    folder: Path
    """What is kept between two runs."""
    socket: Path
    """HAProxy's admin socket."""

    @property
    def files(self) -> Path:
        """HAProxy's files."""
        return self.folder / "haproxy"


@click.command()
@fleet_option
@click.option("--simulate", is_flag=True, help="Simulated Ollamas, with made-up answers, in place of real ones.")
@click.option("--front", type=click.Choice(list(obstacles.FRONTS)), default="haproxy", show_default=True)
def up(fleet_file: Path | None, simulate: bool, front: str) -> None:
    """Run the whole fleet in this terminal, until Ctrl-C: its Ollamas, the agent, HAProxy.

    Instances of the fleet file that are on other hosts are used, not started.
    """
    try:
        file = find(fleet_file)
        # A folder with a short path: in that of the state a socket's would be too long (unix(7)).
        with _temporary() as folder:
            plan = _plan(file, load(file), simulate, front, Path(folder) / SOCKET)
            with asyncio.Runner() as runner:
                runner.get_loop().set_exception_handler(faults.on_loop)
                runner.run(run(plan))
    except (FleetError, ProgramNotStarted) as error:
        raise click.ClickException(str(error)) from error


def _temporary() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="pointsman-")
    except OSError as error:
        raise ProgramNotStarted(f"no folder for HAProxy's admin socket: {error}; TMPDIR names another place") from error


def _plan(file: Path, fleet: Fleet, simulate: bool, front: str, socket: Path) -> RunPlan:
    """Look whether everything can run; say all that is in the way at once. Raises ClickException."""
    # HAProxy is one of our own: what the file says of another one, which may run, is not for it.
    fleet = fleet.model_copy(update={"haproxy": HAProxySettings()})
    binary, server = obstacles.FRONTS[front](), None if simulate else ollama.find()
    folder = members.state_folder(file, simulate)
    with quiet():
        instances, wrong = _bound(here(fleet), simulate)
    wrong += obstacles.of_front(front, binary)
    # mitmproxy's agent has no admin port.
    wrong += obstacles.of_key(fleet) if front == "haproxy" else ()
    wrong += obstacles.of_ports(fleet, instances, front)
    wrong += obstacles.of_folder(folder, "XDG_STATE_HOME names another place for it")
    if not simulate and instances:
        wrong += [*obstacles.of_ollama(server), *obstacles.of_stores(instances)]
    if not wrong and front == "haproxy":
        wrong += obstacles.of_files(members.haproxy_texts(fleet, socket), str(binary), folder / "haproxy")
    try:
        ollamas = (
            members.simulated(fleet, instances, folder)
            if simulate
            else members.ollamas(instances, server or "", environ)
        )
    except UnnamedGpu as error:
        wrong, ollamas = [*wrong, str(error)], []
    if wrong:
        raise click.ClickException("nothing was started:\n" + "\n".join(f"  {one}" for one in dict.fromkeys(wrong)))
    return RunPlan(file, fleet, tuple(instances), tuple(ollamas), front, str(binary), folder, socket)


def _bound(instances: Sequence[Instance], simulate: bool) -> tuple[list[Instance], list[str]]:
    """Return instances with their GPUs by UUID, and which GPUs are missing. Simulated ones need none."""
    if simulate or not any(one.gpus for one in instances):
        return list(instances), []
    readings = read_here()
    return by_uuid(instances, readings), list(obstacles.of_gpus(instances, readings))


async def run(plan: RunPlan) -> None:
    """Run until told to stop. Raises ProgramNotStarted when the fleet does not come up; nothing is left then."""
    told, hurry = asyncio.Event(), asyncio.Event()
    for number in STOPS:
        # Of nohup's children, the end of a terminal is not the end.
        if signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, lambda: (hurry if told.is_set() else told).set())
    names = [UP, *(one.name for one in plan.ollamas), members.AGENT, plan.front]
    with Output(names) as output:
        reaped_by = await Reaper.start(plan.socket.parent)
        try:
            with Notified.open() as notified:
                async with asyncio.TaskGroup() as tasks:
                    keeping = tasks.create_task(_keep(reaped_by, output))
                    running = Running(output, reaped_by, notified, tasks, hurry)
                    await _run(plan, running, output, notified, told)
                    keeping.cancel()
        except* ProgramNotStarted as failed:
            raise failed.exceptions[0] from None
        finally:
            await reaped_by.close()


async def _keep(reaped_by: Reaper, output: Output) -> None:
    """Have a reaper until cancelled."""
    while True:
        await reaped_by.ended()
        output.say(UP, "the reaper, which ends what is left when `up` is killed, has ended; another follows")
        try:
            await reaped_by.start_again()
        except OSError as error:
            output.say(UP, f"no reaper: {error}")
        await asyncio.sleep(KEEPER_DELAY_S)


async def _run(plan: RunPlan, running: Running, output: Output, notified: Notified, told: asyncio.Event) -> None:
    stages = _stages(plan, notified)
    starting = asyncio.ensure_future(_start(plan, running, output, stages))
    stopping = asyncio.ensure_future(told.wait())
    try:
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await stopping
        output.say(UP, f"stopping: {plan.front} lets requests end, then all else ends; Ctrl-C again stops at once")
    finally:
        for task in (starting, stopping):
            task.cancel()
        for stage in reversed(stages):
            await running.stop(stage)
        output.say(UP, "stopped")


def _stages(plan: RunPlan, notified: Notified) -> list[Sequence[members.Member]]:
    """Return what is started together, in order."""
    if plan.front == "mitmproxy":
        return [plan.ollamas, [members.mitmproxy(plan.fleet, plan.binary, plan.file)]]
    agent = members.agent(plan.fleet, plan.file, plan.folder, plan.socket, notified.address)
    return [plan.ollamas, [agent], [members.haproxy(plan.fleet, plan.binary, plan.files)]]


async def _start(plan: RunPlan, running: Running, output: Output, stages: Sequence[Sequence[members.Member]]) -> None:
    others = [one for one in plan.fleet.instances if one.name not in {mine.name for mine in plan.instances}]
    for one in others:
        output.say(UP, f"{one.name} is used where it is, {one.url}")
    unset = sorted({name for one in plan.ollamas for name in one.unset} - {"OLLAMA_HOST"})
    if unset:
        output.say(UP, f"of this terminal, Ollamas do not get {', '.join(unset)}: the fleet file says how they run")
    *behind, front = stages
    for stage in behind:
        await running.start(stage)
    if plan.front == "haproxy":
        await health.preloaded(plan.fleet.listeners.admin, lambda line: output.say(UP, line))
    await running.start(front)
    scheme = "https" if plan.fleet.tls and plan.front == "haproxy" else "http"
    output.say(UP, f"the fleet is at {scheme}://{plan.fleet.listeners.front}; Ctrl-C stops it")
    if plan.front == "haproxy":
        output.say(UP, f"to watch it: http://{plan.fleet.listeners.admin}/ in a browser, or pointsman top")
        await health.follow(plan.fleet.listeners.admin, lambda line: output.say(UP, line))
