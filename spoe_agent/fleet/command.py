"""`pointsman schema`."""

from __future__ import annotations

import json

import click

from spoe_agent.fleet.schema import json_schema


@click.command()
def schema() -> None:
    """Print the JSON schema of the fleet file, for editors that complete and check YAML."""
    click.echo(json.dumps(json_schema(), indent=2))
