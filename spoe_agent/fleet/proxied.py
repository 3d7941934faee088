"""Instances behind a TLS or path proxy: rules for them, and where HAProxy passes on what goes there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count

from pydantic import AnyUrl

from spoe_agent.fleet.problems import Finding
from spoe_agent.fleet.schema import FleetDraft
from spoe_agent.fleet.units import Listen
from spoe_agent.fleet.urls import endpoint, is_behind_proxy, is_name


def onward(first: Listen, urls: Iterable[AnyUrl | None]) -> Iterator[Listen | None]:
    """Yield HAProxy's own port on the way to each instance, from the first one on; None where none is needed."""
    numbers = count(first.port)
    for url in urls:
        yield replace(first, port=next(numbers)) if url is not None and is_behind_proxy(url) else None


def certificates(fleet: FleetDraft) -> Iterator[Finding]:
    """HAProxy compares names with a certificate, and no addresses: there the signature must say enough."""
    for index, instance in enumerate(fleet.instances):
        if instance.url is None or instance.url.scheme != "https" or instance.ca_file is not None:
            continue
        host = endpoint(instance.url).host
        if not is_name(host):
            message = f"{host} is an address, which HAProxy cannot find in a certificate that anybody may have signed"
            hint = "write the host's name, or ca_file: the certificates that only your own servers are signed by"
            yield Finding(("instances", index, "url"), message, hint, depends=(("instances", index, "ca_file"),))
