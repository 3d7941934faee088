"""What several commands take: the option --fleet, the fleet file that a command means; sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import ByteSize, TypeAdapter, ValidationError

from spoe_agent.fleet.load import PLACES

_Command = TypeVar("_Command", bound=Callable[..., Any])

FILE = click.Path(path_type=Path)

_BYTES = TypeAdapter(ByteSize)


def fleet_option(command: _Command) -> _Command:
    """Add --fleet to a command, as `fleet_file`; None: `find` looks where a fleet file usually is."""
    places = ", else ".join(map(str, PLACES))
    return click.option("--fleet", "fleet_file", type=FILE, help=f"Fleet file; else {places}.")(command)


class Size(click.ParamType[int]):
    """Bytes with a unit, such as 24GiB or 4.7GB."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return int(_BYTES.validate_python(value))
        except ValidationError:
            self.fail(f"{value!r} is not a size such as 24GiB or 4.7GB", param, ctx)
