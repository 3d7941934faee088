"""Host and Origin checks."""

from __future__ import annotations

import pytest

from spoe_agent.simulator.guard import host_allowed, is_loopback, origin_allowed


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        (None, True),
        ("", True),
        ("localhost", True),
        ("LOCALHOST:11434", True),
        ("127.0.0.1:11434", True),
        ("[::1]:11434", True),
        ("0.0.0.0", True),
        ("192.168.1.5", True),
        ("api.localhost", True),
        ("box.internal:80", True),
        ("8.8.8.8", False),
        ("example.com", False),
        ("localhost.example.com", False),
    ],
)
def test_host(header, allowed):
    assert host_allowed(header) is allowed


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://localhost", True),
        ("https://127.0.0.1:8443", True),
        ("app://obsidian.md", True),
        ("http://front.example:11434", True),  # the server's own
        ("http://front.example", False),
        ("http://localhost.evil.example", False),
    ],
)
def test_origin(origin, allowed):
    assert origin_allowed(origin, "front.example:11434") is allowed


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("x", False)]
)
def test_loopback(host, loopback):
    assert is_loopback(host) is loopback
