"""Who may talk to a loopback Ollama: the Host check and the Origin check (routes.go:1803-1839, gin-contrib/cors).

Pure predicates on header values.
"""

from __future__ import annotations

import socket
from fnmatch import fnmatchcase
from ipaddress import ip_address
from urllib.parse import urlsplit

_LOCAL_SUFFIXES = (".localhost", ".local", ".internal")
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "0.0.0.0")
_ALLOWED_ORIGINS = (
    *(f"{scheme}://{host}" for scheme in ("http", "https") for host in _LOCAL_HOSTS),
    *(f"{scheme}://{host}:*" for scheme in ("http", "https") for host in _LOCAL_HOSTS),
    "app://*",
    "file://*",
    "tauri://*",
    "vscode-webview://*",
    "vscode-file://*",
)


def is_loopback(host: str) -> bool:
    """True for a listener that only this machine reaches."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def host_allowed(header: str | None) -> bool:
    """True if a loopback Ollama answers a request with this Host header.

    Addresses of the machine's own interfaces count too for Ollama; private addresses cover them here.
    """
    host = (urlsplit(f"//{header}").hostname or "") if header else ""
    try:
        address = ip_address(host)
        return address.is_loopback or address.is_private or address.is_unspecified
    except ValueError:
        return host in ("", "localhost", socket.gethostname().lower()) or host.endswith(_LOCAL_SUFFIXES)


def origin_allowed(origin: str | None, host_header: str | None) -> bool:
    """True if the Origin header is missing, the server's own, or on Ollama's default list (envconfig)."""
    if not origin or origin in (f"http://{host_header}", f"https://{host_header}"):
        return True
    return any(fnmatchcase(origin, pattern) for pattern in _ALLOWED_ORIGINS)
