"""The option --fleet: the fleet file that a command means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from spoe_agent.fleet.load import PLACES

_Command = TypeVar("_Command", bound=Callable[..., Any])

FILE = click.Path(path_type=Path)


def fleet_option(command: _Command) -> _Command:
    """Add --fleet to a command, as `fleet_file`; None: `find` looks where a fleet file usually is."""
    places = ", else ".join(map(str, PLACES))
    return click.option("--fleet", "fleet_file", type=FILE, help=f"Fleet file; else {places}.")(command)
