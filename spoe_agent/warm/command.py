"""`pointsman warm`: what of the models is in memory, and reading them ahead. Only options and output live here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from spoe_agent.fleet import FleetError, find, load
from spoe_agent.fleet.option import Size, fleet_option
from spoe_agent.instances.here import here
from spoe_agent.instances.store import found_store, weights
from spoe_agent.routing.names import canonical, display
from spoe_agent.warm.pages import CannotTell
from spoe_agent.warm.warming import CachedModel, Memory, amount, incomplete, states
from spoe_agent.warm.warming import warm as warmed


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@fleet_option
@click.option(
    "--budget", type=Size(), help="How much of the memory these models may fill; else half of what is to spare."
)
def warm(models: tuple[str, ...], fleet_file: Path | None, budget: int | None) -> None:
    """Read the files of each MODEL into this host's page cache, in that order; without any, say what is in it.

    Its Ollamas load from there at memory's speed, whichever loads first. Nothing is read for which there is no room.
    Exit 1 if a model was not read to its end.
    """
    try:
        known = _known(fleet_file)
        wanted = _wanted(models, known) if models else known
        left_out = incomplete(wanted)
        wanted = {model: files for model, files in wanted.items() if model not in left_out}
        before, memory = states(wanted), Memory()
        if not models:
            lines = [*map(str, before.values()), *left_out.values()]
            click.echo("\n".join(lines) or "The stores of this host have no models.")
            return
        for line in left_out.values():
            click.echo(line)
        failed = _warm(list(before.values()), budget, memory)
        after = states(wanted)
    except (FleetError, CannotTell) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error
    for model, state in after.items():
        click.echo(f"{state}, {amount(before[model].resident)} before")
    if failed or left_out:
        raise SystemExit(1)


def _warm(wanted: list[CachedModel], budget: int | None, memory: Memory) -> bool:
    most = max(0, memory.spare() // 2) if budget is None else budget
    click.echo(f"Budget {amount(most)}; {amount(max(0, memory.spare()))} of memory are to spare.")
    told = list(warmed(wanted, most, memory))
    for line in told:
        click.echo(line)
    return bool(told)


def _known(fleet_file: Path | None) -> dict[str, tuple[Path, ...]]:
    """Return the files of every model in the stores of this host's instances. Raises FleetError, OSError."""
    stores = dict.fromkeys(map(found_store, here(load(find(fleet_file)))))
    return {model: files for store in stores for model, files in weights(store).items() if files}


def _wanted(models: tuple[str, ...], known: Mapping[str, tuple[Path, ...]]) -> dict[str, tuple[Path, ...]]:
    wanted = {}
    for name in models:
        try:
            key = canonical(name)
            wanted[key] = known[key]
        except (ValueError, KeyError):
            names = ", ".join(map(display, known)) or "none"
            raise click.ClickException(f"no store of this host has {name}; they have {names}") from None
    return wanted
