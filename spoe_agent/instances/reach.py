"""How the agent reaches an instance: URL, Host, certificates."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

from spoe_agent.fleet import FleetError, Instance
from spoe_agent.fleet.problems import Problem
from spoe_agent.instances.http import Remote


@lru_cache(maxsize=1024)
def reach(instance: Instance) -> Remote:
    """Return how to ask an instance. Raises FleetError when its `ca_file` is of no use."""
    headers = {"Host": instance.host_header}
    if instance.is_named:
        # A connection that is kept would stay with the old address as long as somebody answers there.
        headers["Connection"] = "close"
    return Remote(instance.url, headers, _trust(instance) if instance.ca_file else True)


def _trust(instance: Instance) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=instance.ca_file)
    except (OSError, ssl.SSLError) as error:
        reason = "has no certificate in PEM" if isinstance(error, ssl.SSLError) else str(error.strerror)
        hint = f"it is the ca_file of {instance.name}; agent and HAProxy read it at their start"
        raise FleetError([Problem(str(Path(instance.ca_file or "")), None, "", reason, hint)]) from error
