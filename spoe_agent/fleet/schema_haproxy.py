"""The fleet file's section on HAProxy: where its files are, how it is told of them, how it finds the agent."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from spoe_agent.fleet.section import Section
from spoe_agent.fleet.units import AbsolutePath, Listens, Paths

_Command = Annotated[str, Field(min_length=1, max_length=1000)]

DEBIAN_TEST = (
    'eval "export _= $(systemctl show --property Environment --value haproxy)"; '
    '. /etc/default/haproxy; haproxy -c -q -f "${CONFIG:-/etc/haproxy/haproxy.cfg}" $EXTRAOPTS'
)
"""What Debian's unit runs before it reloads, with the files that it really uses: as its unit and drop-ins say, and
/etc/default/haproxy."""


class HAProxySettings(Section):
    """The HAProxy in front."""

    files: AbsolutePath | None = Field(default=None, examples=["/etc/pointsman/haproxy"])
    """The folder that `render haproxy --out` wrote, and `pointsman apply` writes. In it the agent keeps, for HAProxy's
    next start, who has which model. Left out: a HAProxy that starts without the agent asks any instance."""
    runtime: Paths = Field(default=(), examples=["/run/haproxy/admin.sock"])
    """HAProxy's `stats socket` of level admin, one or a list: there the same is kept current while HAProxy runs."""
    test: _Command = DEBIAN_TEST
    """Shell command that tests the configuration which HAProxy runs; `pointsman apply` stops when it fails. Left out:
    Debian's, with what HAProxy's unit and /etc/default/haproxy say."""
    reload: _Command = Field(default="systemctl reload haproxy", examples=["systemctl reload haproxy"])
    """Shell command that reloads HAProxy."""
    spop: Listens | None = Field(default=None, examples=["unix@/spop.sock"])
    """The agent's address as HAProxy sees it: with `chroot` a unix socket's path begins below that folder; with
    containers the host is another. Left out: as `listeners.spop`."""
