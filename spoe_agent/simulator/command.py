"""``simulate``: run one simulated Ollama from the command line. Only options and their parsing live here."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import click

from spoe_agent.fleet.option import Size
from spoe_agent.simulator.asks import for_ever_if_negative
from spoe_agent.simulator.catalog import DEFAULT_MODELS, Catalog, Model
from spoe_agent.simulator.errors import BadBody
from spoe_agent.simulator.go_json import duration_s
from spoe_agent.simulator.profile import GPU_SPEEDS, InstanceProfile
from spoe_agent.simulator.server import SimulatedOllama
from spoe_agent.simulator.store import FolderCatalog


class KeepAlive(click.ParamType[float]):
    """A Go duration such as 5m."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return for_ever_if_negative(duration_s(str(value)))
        except BadBody as error:
            self.fail(str(error), param, ctx)


class BindAddress(click.ParamType[tuple[str, int]]):
    """HOST:PORT; port 0: one that is free."""

    name = "host:port"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        host, _, port = str(value).rpartition(":")
        if not host or not port.isdecimal():
            self.fail(f"{value!r} is not HOST:PORT", param, ctx)
        return host.strip("[]"), int(port)


class ModelSize(click.ParamType[Model]):
    """NAME=SIZE."""

    name = "name=size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Model:
        name, _, size = str(value).rpartition("=")
        if not name:
            self.fail(f"{value!r} is not NAME=SIZE, such as llama3.1:8b=4.7GB", param, ctx)
        return Model(name=name, size_bytes=Size().convert(size, param, ctx), embedding_only="embed" in name)


@click.command("simulate")
@click.option("--listen", type=BindAddress(), default="127.0.0.1:11434", show_default=True)
@click.option("--vram", type=Size(), default="24GiB", show_default=True, help="Memory of the GPU group.")
@click.option("--num-parallel", type=click.IntRange(1), default=1, show_default=True)
@click.option(
    "--max-loaded-models",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="0: three, as for one GPU.",
)
@click.option(
    "--models",
    type=ModelSize(),
    multiple=True,
    help="NAME=SIZE, repeatable; a name with 'embed' in it is an embedding model. Without it, a built-in catalogue.",
)
@click.option(
    "--store",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of a store that several share (OLLAMA_MODELS). The models are put there when it does not exist.",
)
@click.option(
    "--keep-alive",
    type=KeepAlive(),
    default="5m",
    show_default=True,
    help="A Go duration, in which --time-scale counts too; negative: for ever.",
)
@click.option(
    "--time-scale",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="20: everything takes a twentieth of its time.",
)
@click.option(
    "--gpu-bandwidth",
    type=click.Choice(sorted(GPU_SPEEDS)),
    default="4090",
    show_default=True,
    help="The GPU whose speed is simulated.",
)
def simulate(
    listen: tuple[str, int],
    vram: int,
    num_parallel: int,
    max_loaded_models: int,
    models: tuple[Model, ...],
    folder: Path | None,
    keep_alive: float,
    time_scale: float,
    gpu_bandwidth: str,
) -> None:
    """Serve a simulated Ollama: its API, its scheduler and its timing, with made-up text and no GPU."""
    profile = InstanceProfile(
        vram_bytes=vram,
        gpu=GPU_SPEEDS[gpu_bandwidth],
        num_parallel=num_parallel,
        max_loaded_models=max_loaded_models,
        keep_alive_s=keep_alive,
    )
    try:
        catalog = FolderCatalog(folder, models or DEFAULT_MODELS) if folder else Catalog(models or DEFAULT_MODELS)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--models") from None
    except OSError as error:
        raise click.BadParameter(str(error), param_hint="--store") from None
    server = SimulatedOllama(profile, catalog, time_scale)
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(server, *listen, len(catalog.models)))


async def _serve(server: SimulatedOllama, host: str, port: int, models: int) -> None:
    shown = f"[{host}]" if ":" in host else host
    try:
        bound = await server.start(host, port)
    except OSError as error:
        raise click.ClickException(f"cannot listen on {shown}:{port}: {error.strerror}") from None
    try:
        click.echo(f"simulated Ollama on http://{shown}:{bound}, {models} models", err=True)
        await asyncio.Event().wait()
    finally:
        await server.stop()
