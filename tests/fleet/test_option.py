"""Every command that works on the user's fleet has the same --fleet."""

from importlib import import_module

import click
import pytest

from spoe_agent.cli import COMMANDS
from spoe_agent.fleet.load import PLACES

OF_ITS_OWN = {"demo"}
"""There it names Ollamas to use in place of simulated ones, and none is looked for."""


def commands():
    """Every command of the product, with those of groups."""
    for name, place in COMMANDS.items():
        module, _, attribute = place.partition(":")
        command = getattr(import_module(module), attribute)
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", one) for inner, one in command.commands.items())
        else:
            yield name, command


FLEETS = {name: option for name, one in commands() for option in one.params if "--fleet" in option.opts}


@pytest.mark.parametrize("name", sorted(FLEETS.keys() - OF_ITS_OWN))
def test_it_says_where_a_file_is_looked_for(name):
    assert FLEETS[name].name == "fleet_file"
    assert all(str(place) in FLEETS[name].help for place in PLACES)


def test_most_commands_have_it():
    assert {"serve", "check", "apply", "status", "drain", "render haproxy"} <= FLEETS.keys()
