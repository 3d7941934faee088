"""`pointsman telemetry`: what this host's GPUs say, now or as a service. Only options and output live here."""

from __future__ import annotations

import asyncio
import signal
import sys
import time

import click
import structlog
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table

from spoe_agent.fleet.units import Listen, TcpListen
from spoe_agent.gpus.board import GpuBoard
from spoe_agent.gpus.group import failure
from spoe_agent.gpus.local import local_sources
from spoe_agent.gpus.reading import GpuReading
from spoe_agent.gpus.service import read_once, serve
from spoe_agent.gpus.wire import encode
from spoe_agent.instances.beat import Beat

_LISTEN: TypeAdapter[Listen] = TypeAdapter(TcpListen)
_FIRST_DEADLINE_S = 10.0
"""For `--once`: a sleeping driver takes seconds to start (no persistence mode)."""


class Address(click.ParamType[Listen]):
    """HOST:PORT."""

    name = "host:port"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Listen:
        try:
            return value if isinstance(value, Listen) else _LISTEN.validate_python(value)
        except ValidationError:
            self.fail(f"{value!r} is not HOST:PORT, like 127.0.0.1:9605", param, ctx)


@click.command()
@click.option("--listen", type=Address(), help="Serve the readings as JSON on HOST:PORT until stopped.")
@click.option("--once", is_flag=True, help="Print what is read now and end.")
@click.option("--json", "as_json", is_flag=True, help="With --once: the JSON that --listen serves.")
@click.option("--interval", type=click.FloatRange(min=0.1), default=1.0, show_default=True, help="Seconds per reading.")
def telemetry(listen: Listen | None, once: bool, as_json: bool, interval: float) -> None:
    """Read this host's GPUs: print them, or serve them to a router on another host."""
    if once is (listen is not None):
        raise click.UsageError("give either --once or --listen HOST:PORT")
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is for the readings
    if listen is None:
        structlog.configure(processors=[_only_faults, *structlog.get_config()["processors"]])
        _show(asyncio.run(read_once(local_sources(), _FIRST_DEADLINE_S)), as_json)
        return
    try:
        asyncio.run(_serve(listen, Beat(interval)))
    except OSError as error:
        raise click.ClickException(f"cannot listen on {listen}: {error.strerror}") from error


async def _serve(listen: Listen, beat: Beat) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(local_sources(), listen, beat, stop)


def _only_faults(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Let only our own faults be logged: how the sources are doing is part of what is shown."""
    if not event.get("exc_info"):
        raise structlog.DropEvent
    return event


def _show(board: GpuBoard, as_json: bool) -> None:
    if as_json:
        click.echo(encode(board.readings.values(), board.states, time.monotonic()))
        if not board.readings:
            raise click.ClickException("no GPU gave a reading")
        return
    if not board.readings:
        raise click.ClickException("; ".join(["no GPU gave a reading", *_lost(board)]))
    Console().print(table(board))


def table(board: GpuBoard) -> Table:
    """Return the readings as a table, the state of the sources under it."""
    found = Table(caption="\n".join(_lost(board)) or None)
    for heading in ("GPU", "memory used / total", "free", "busy", "heat", "power", "held down by", "state"):
        found.add_column(heading)
    for reading in board.readings.values():
        found.add_row(*_row(reading))
    return found


def _lost(board: GpuBoard) -> list[str]:
    return [f"{name} is {state.state}: {state.why}" for name, state in board.states.items() if state.why]


def _row(reading: GpuReading) -> tuple[str, ...]:
    index = "" if reading.index is None else f"{reading.index}  "
    pids = ", ".join(f"{pid}: {_gib(held)}" for pid, held in (reading.processes or {}).items())
    return (
        f"{index}{reading.name or ''}\n{reading.uuid}\n{reading.pci_bus_id or ''}".rstrip(),
        f"{_gib(reading.memory_used_bytes)} / {_gib(reading.memory_total_bytes)}\n{pids}".rstrip(),
        _gib(reading.memory_free_bytes),
        "-" if reading.utilisation is None else f"{reading.utilisation:.0%}",
        "-" if reading.temperature_c is None else f"{reading.temperature_c:.0f} C",
        f"{_watts(reading.power_w)} / {_watts(reading.power_limit_w)}",
        "-" if reading.throttle is None else "\n".join(sorted(reading.throttle)),
        failure(reading) or "ok",
    )


def _gib(value: int | None) -> str:
    return "-" if value is None else f"{value / (1 << 30):.1f} GiB"


def _watts(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} W"
