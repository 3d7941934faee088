"""The fleet file's sections on the front, where clients come in: keys, TLS. What a single key may: keys/entry."""

from __future__ import annotations

from pydantic import Field

from spoe_agent.fleet.section import Section
from spoe_agent.fleet.units import AbsolutePath, Network, TcpListen


class KeySettings(Section):
    """Keys that clients must have. `pointsman key add NAME` makes one."""

    file: AbsolutePath = Field(examples=["/etc/pointsman/keys/keys.json"])
    """Where they are kept: of each its hash and its rights. As long as there is no such file, nobody comes in."""
    open_networks: tuple[Network, ...] = ()
    """Addresses and networks whose clients need no key: they use all models, and change none."""
    admin: bool = False
    """Whether `listeners.admin` asks for a key that may manage (`Authorization: Bearer KEY`); commands take theirs from
    $POINTSMAN_KEY."""


class TlsSettings(Section):
    """TLS where clients connect: 1.2 and later, with HTTP/2."""

    certificate: AbsolutePath = Field(examples=["/etc/pointsman/tls/front.pem"])
    """PEM file with the certificate, those between it and its root, and the private key; or a folder of such files."""
    redirect_from: TcpListen | None = Field(default=None, examples=["0.0.0.0:80"])
    """Where plain HTTP is told to come back with https (308)."""
