"""`pointsman explain`: why a request went where it went, or where one would go. Only options and output live here."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from urllib.parse import urlencode

import click

from spoe_agent.admin.command import admin, ask, console
from spoe_agent.admin.explained import explanation, overview
from spoe_agent.fleet.option import fleet_option


@click.command()
@fleet_option
@click.argument("request_id", metavar="[ID]", required=False)
@click.option("--last", type=click.IntRange(1, 1000), metavar="N", help="List the last N decisions, newest first.")
@click.option("--model", metavar="NAME", help="Where a request for it would go now; with --last, those for it only.")
@click.option("--json", "as_json", is_flag=True, help="Print the agent's answer as it is.")
def explain(
    fleet_file: Path | None, request_id: str | None, last: int | None, model: str | None, as_json: bool
) -> None:
    """Show why request ID went where it went: every instance with its predicted seconds, term by term.

    ID is the X-Request-Id of the answer (of a request that has ended), or `id` in HAProxy's log. With --model and
    nothing else, nothing is sent: it says where a request would go as things are.
    """
    if (request_id is None and last is None and model is None) or (request_id is not None and (last or model)):
        raise click.UsageError("give the id of a request, or --last N, or --model NAME")
    asked = {"id": request_id, "last": last, "model": model}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    found = asyncio.run(ask(admin(fleet_file), "GET", f"/explain?{query}"))["decisions"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif last is not None:
        console().print(overview(found))
    else:
        console().print(explanation(found[0]))
