"""The command `caller`: prints what a key's caller is called."""

from __future__ import annotations

import sys

import click

from spoe_agent.requests.caller import key_hash


@click.command()
def caller() -> None:
    """Print the number of a key, for `callers:` of the fleet file.

    The key is asked for, or read from standard input: a bearer token, an `x-api-key`, or USER:PASSWORD. It is nowhere
    shown or kept.
    """
    key = click.prompt("Key", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read().strip()
    if not key:
        raise click.ClickException("there is no key on standard input; for example: pointsman caller < key.txt")
    click.echo(key_hash(key))
