"""What `loads` says of a text, as its user sees it."""

from __future__ import annotations

from spoe_agent.fleet import FleetError, loads

INSTANCE = '{name: gpu0, url: "http://127.0.0.1:11435"}'
OTHER = '{name: gpu1, url: "http://127.0.0.1:11436"}'


def refusals(text: str) -> list[str]:
    """Return the problems' lines; none when the text is a good fleet file."""
    try:
        loads(text)
    except FleetError as error:
        assert str(error).splitlines() == [str(problem) for problem in error.problems]
        return str(error).splitlines()
    return []
