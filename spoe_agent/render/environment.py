"""An instance's environment as a file. Pure."""

from __future__ import annotations

import re

from spoe_agent.fleet import Instance
from spoe_agent.instances.environment import environment


def environment_file(instance: Instance) -> str:
    """Return the file as systemd's EnvironmentFile= and shells read it. Raises UnnamedGpu."""
    head = f"# Ollama {instance.name}. Written by `pointsman render env`; edit the fleet file, then render again.\n"
    return head + "".join(f"{name}={_quoted(value)}\n" for name, value in environment(instance).items())


def _quoted(value: str) -> str:
    """Return a value as systemd (load-fragment, EnvironmentFile=) and shells take it for what it is."""
    return value if re.fullmatch(r"[A-Za-z0-9/@.,:_-]*", value) else '"' + re.sub(r'(["\\`$])', r"\\\1", value) + '"'
