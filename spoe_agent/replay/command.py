"""The command `replay`. Only options and output live here."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import click
from rich.console import Console

from spoe_agent.fleet import FleetError, find, load
from spoe_agent.fleet.option import fleet_option
from spoe_agent.replay.plot import svg
from spoe_agent.replay.recorded import NoLog, Recorded, read
from spoe_agent.replay.report import as_data, table
from spoe_agent.replay.running import replay as run_again
from spoe_agent.routing.specs import Weights

FILE = click.Path(path_type=Path, dir_okay=False)

NAMES = tuple(one.name for one in fields(Weights))


class Weight(click.ParamType[tuple[str, float]]):
    """NAME=NUMBER."""

    name = "name=number"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        name, _, number = str(value).partition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = -1.0
        if name not in NAMES or not 0 <= weight < float("inf"):
            self.fail(f"{value!r} is not a weight such as load=1.5; there are {', '.join(NAMES)}", param, ctx)
        return name, weight


@click.command()
@click.argument("logs", metavar="LOG...", nargs=-1, required=True, type=FILE)
@fleet_option
@click.option("--weight", "weights", type=Weight(), multiple=True, help="Another weight of the costs: load=1.5.")
@click.option("--plot", type=FILE, help="Draw it too: an SVG file.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option(
    "--time-scale",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    help="Of the simulated instances that were recorded: 20 when they ran 20 times too fast.",
)
def replay(
    logs: tuple[Path, ...],
    fleet_file: Path | None,
    weights: tuple[tuple[str, float], ...],
    plot: Path | None,
    as_json: bool,
    time_scale: float,
) -> None:
    """Run the requests of a decision LOG again, on a simulated fleet as the fleet file says.

    It prints what first tokens, waiting and loads would have been beside what they were: so an edit of the fleet file
    is tried on yesterday's requests. Of each LOG, what was put aside (LOG.1, ...) is read too.
    """
    try:
        recorded, file = read(logs), find(fleet_file)
        found = run_again(recorded, load(file), replace(Weights(), **dict(weights)), time_scale)
        if plot is not None:
            plot.write_text(svg(found, f"{', '.join(map(str, logs))}, and with {file}"), encoding="utf-8")
    except (NoLog, FleetError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{plot} cannot be written: {error.strerror}") from error
    if as_json:
        click.echo(json.dumps(as_data(found), indent=2))
        return
    Console().print(table(found))
    for note in _left_out(recorded, len(found.was)):
        click.echo(note, err=True)


def _left_out(recorded: Recorded, replayed: int) -> list[str]:
    others = len(recorded.decisions) - replayed
    found = {
        "requests were decided by HAProxy alone, and are not in it": recorded.undecided,
        "decisions are not in it: they ran no model, were refused for what they are, or did not end": others,
        "lines could not be read": recorded.unread,
    }
    return [f"Note: {count} {what}" for what, count in found.items() if count]
