"""`pointsman addon`: where the script for mitmproxy is."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

SCRIPT = Path(__file__).parent / "script" / "route.py"
"""In a folder of its own, because mitmproxy puts that first on sys.path."""


@click.command()
def addon() -> None:
    """Print the path of the addon, for mitmproxy: mitmdump -s "$(pointsman addon)"."""
    if find_spec("mitmproxy") is None:
        advice = "pip install '.[mitmproxy]' in a checkout of Pointsman"
        raise click.ClickException(f"mitmproxy is not installed beside pointsman: {advice}")
    click.echo(SCRIPT)
