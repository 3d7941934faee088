"""The URL of an Ollama: what it may look like, and its parts."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AnyUrl, UrlConstraints, ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator

from spoe_agent.fleet.hosts import same_host
from spoe_agent.fleet.units import WILDCARD_HOSTS, Listen, refuse

USUAL_PORT = 11434
"""Where clients look for an Ollama: the front has it."""
FIRST_PORT = 11435
"""Instances listen from this one on."""

_PREFIX = r"(/[A-Za-z0-9._~-]+)*"


def _instance_url(value: object, read: ValidatorFunctionWrapHandler) -> AnyUrl:
    """An Ollama's root: scheme, host, port, and the path below which a proxy has it."""
    url: AnyUrl = read(value)
    hint = "write http://HOST:PORT, like http://127.0.0.1:11435, or https://HOST:443/PATH"
    if url.query is not None or url.fragment is not None:
        raise refuse("instance_url", "must not have anything behind its path", hint)
    if not re.fullmatch(_PREFIX, prefix(url)):
        raise refuse(
            "instance_url", "has a path with other characters than letters, digits, `-`, `.`, `_` and `~`", hint
        )
    if prefix(url).endswith(("/v1", "/api")):
        hint = "write what comes before it, like http://127.0.0.1:11435: clients ask for /v1/... and /api/..."
        raise refuse("instance_url", "ends with a part of what is asked below it", hint)
    if url.username is not None or url.password is not None:
        raise refuse("instance_url", "must not have a user", hint)
    if not urlsplit(str(value).strip()).netloc.endswith(f":{url.port}"):
        raise refuse("instance_url", "has no port", hint)
    if endpoint(url).host in WILDCARD_HOSTS:
        raise refuse("instance_url", f"has the host {endpoint(url).host}, which is no address to connect to", hint)
    return url


def prefix(url: AnyUrl) -> str:
    """Return the path of an instance's URL, without a slash at the end: "" or "/ollama"."""
    return (url.path or "").rstrip("/")


def is_behind_proxy(url: AnyUrl) -> bool:
    """Tell whether something stands before this Ollama that goes by its own name and paths."""
    return url.scheme == "https" or bool(prefix(url))


def machine(url: AnyUrl) -> str:
    """Return what tells the machines of Ollamas apart: their hosts. What is behind one proxy may be on several."""
    return f"{endpoint(url)}{prefix(url)}" if is_behind_proxy(url) else same_host(endpoint(url).host)


def is_name(host: str) -> bool:
    """Tell whether a host has to be looked up."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def endpoint(url: AnyUrl) -> Listen:
    """Return host and port of an instance's URL."""
    return Listen(host=(url.host or "").strip("[]"), port=url.port or 0)


InstanceUrl = Annotated[
    AnyUrl,
    UrlConstraints(allowed_schemes=["http", "https"], host_required=True),
    WrapValidator(_instance_url),
    WithJsonSchema({"type": "string", "pattern": "^https?://", "examples": ["http://127.0.0.1:11435"]}),
]
