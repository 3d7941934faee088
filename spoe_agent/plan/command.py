"""`pointsman plan`: which GPUs make which instances, and which models live where. Only options and output live here."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spoe_agent.fleet import Fleet, FleetError, find, loads
from spoe_agent.fleet.load import load as load_fleet
from spoe_agent.fleet.option import FILE, fleet_option
from spoe_agent.gpus.local import local_sources
from spoe_agent.plan import gather
from spoe_agent.plan.carried import Contradiction
from spoe_agent.plan.wanted import WantedFile
from spoe_agent.plan.wanted import load as load_wanted
from spoe_agent.plan.wishes import Gpu, Wish
from spoe_agent.process.quiet import quiet
from spoe_agent.routing.names import display
from spoe_agent.written import replace

if TYPE_CHECKING:  # it needs the extra
    from spoe_agent.plan.entries import PlannedInstance, Rule

_EXTRA = "plan needs the solver and the YAML writer of its extra: pip install '.[plan]' in a checkout of Pointsman ({})"


@click.command()
@click.argument("wanted_file", type=FILE, required=False, metavar="[WANTED]")
@fleet_option
@click.option("--write", "writes", is_flag=True, help="Put the plan into the fleet file.")
def plan(wanted_file: Path | None, fleet_file: Path | None, writes: bool) -> None:
    """Propose GPU groups, instances, pins and copies, and say what fits, what does not, and why.

    The file WANTED names models, with demand, context, slots and copies, and GPUs (docs/plan.md). Without it, all that
    the Ollamas have installed is wanted, on the GPUs of the fleet file or of this machine. Exit status 1 if
    a model fits nowhere, not even alone.
    """
    try:
        from spoe_agent.plan.entries import entries, rules
        from spoe_agent.plan.proposal import propose
        from spoe_agent.plan.report import report
    except ImportError as error:
        raise click.ClickException(_EXTRA.format(error)) from error
    try:
        path, fleet = _fleet(fleet_file, writes)
        wanted = load_wanted(wanted_file) if wanted_file else WantedFile()
        with quiet():
            gpus, wishes = asyncio.run(_gathered(wanted, fleet))
    except (FleetError, gather.Unplannable) as error:
        raise click.ClickException(str(error)) from error
    found = propose(gpus, wishes, gather.element_bytes(wanted, fleet))
    made = entries(found, gpus, fleet, wanted.context)
    served = rules(found, wishes, made)
    click.echo(report(found, made), nl=False)
    if path is not None and fleet is not None and writes:
        _write(path, fleet, gpus, made, served, wanted)
    elif path is not None:
        click.echo(f"\nNothing is written; --write puts it into {path}.")
    nowhere = [display(wish.model) for wish in wishes if wish.model not in {rule.model for rule in served}]
    if nowhere:
        click.echo(
            f"\nEnds with status 1: no group of these GPUs holds {', '.join(nowhere)}, not even alone.", err=True
        )
        raise SystemExit(1)


def _fleet(file: Path | None, is_needed: bool) -> tuple[Path | None, Fleet | None]:
    """Return the fleet file and what it says; none is needed to look at a plan. Raises FleetError."""
    try:
        path = find(file)
    except FleetError:
        if is_needed or file is not None:
            raise
        return None, None
    return path, load_fleet(path)


async def _gathered(wanted: WantedFile, fleet: Fleet | None) -> tuple[list[Gpu], list[Wish]]:
    gpus = await gather.gpus(wanted, fleet, local_sources())
    return gpus, gather.wishes(wanted, await gather.ask(gather.remotes(fleet), wanted))


def _write(
    path: Path, fleet: Fleet, gpus: list[Gpu], made: list[PlannedInstance], found: list[Rule], wanted: WantedFile
) -> None:
    """Write the plan into the fleet file, if what comes out of it holds together."""
    from spoe_agent.plan.write import written

    far = [one.name for one in fleet.instances if not one.is_here]
    if far:
        raise click.ClickException(f"{', '.join(far)} are on other hosts: a plan is for the GPUs of one")
    try:
        text = written(path.read_text(encoding="utf-8-sig"), gpus, made, found, wanted.kv_cache_type)
        loads(text, str(path))
        replace(path, text)
    except Contradiction as error:
        raise click.ClickException(f"nothing is written: {error}") from error
    except FleetError as error:
        raise click.ClickException(f"nothing is written, because the file would not hold together:\n{error}") from error
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from error
    gone = {one.name for one in fleet.instances} - {one.name for one in made}
    click.echo(f"\n{path} written; start each Ollama anew with what `pointsman render env` says.")
    if gone:
        click.echo(f"No longer in it, stop their Ollamas: {', '.join(sorted(gone))}")
