"""Which paths run a model. The table holds behind both real fronts too (tests/e2e/test_paths.py)."""

import pytest

from spoe_agent.requests.path import decoded
from spoe_agent.routing.surface import Kind, classify

TARGETS = [
    # method, target, kind, status of Ollama 0.33 for a model that it has; asked each.
    ("POST", "/api/chat", Kind.INFERENCE, 200),
    ("POST", "/api/ch%61t", Kind.INFERENCE, 200),
    ("POST", "/api/ch%61t?x=1", Kind.INFERENCE, 200),
    ("POST", "/%61%70%69/%63hat", Kind.INFERENCE, 200),
    ("POST", "/api/chat?", Kind.INFERENCE, 200),
    ("POST", "/api/%67enerate", Kind.INFERENCE, 200),
    ("POST", "/v1/%63hat/completions", Kind.INFERENCE, 200),
    ("POST", "/v1/messag%65s", Kind.INFERENCE, 200),
    ("POST", "/api/sh%6Fw", Kind.DESCRIBE, 200),
    ("GET", "/v1/models/%61lpha", Kind.DESCRIBE, 200),
    ("GET", "/v1/mod%65ls/alpha", Kind.DESCRIBE, 200),
    ("GET", "/api/t%61gs", Kind.LIST, 200),
    # Decoded once, not twice.
    ("POST", "/api/c%2568at", Kind.LIST, 404),
    ("POST", "/api/Chat", Kind.LIST, 404),
    ("POST", "/API/chat", Kind.LIST, 404),
    ("POST", "/api/chat;x=1", Kind.LIST, 404),
    ("POST", "/api/chat%3Fx", Kind.LIST, 404),
    ("POST", "/api/chat%20", Kind.LIST, 404),
    ("POST", "/api/chat/x", Kind.LIST, 404),
    ("POST", "/api/ch+at", Kind.LIST, 404),
    ("POST", "/api/%2e/chat", Kind.LIST, 404),
    ("POST", "/%2Fapi/chat", Kind.LIST, 404),
    ("GET", "/v1/models/ns/m", Kind.LIST, 404),
    ("GET", "/v1/models/ns%2Fm", Kind.LIST, 404),
    # Sent elsewhere, and asked anew from there.
    ("POST", "/api/chat/", Kind.LIST, 307),
    ("GET", "/api/chat", Kind.LIST, 405),
    ("POST", "/v1/models/alpha", Kind.LIST, 405),
]
LEFT_TO_OLLAMA = [
    # As above; the simulated Ollama has other routes than gin here.
    ("POST", "/api%2Fchat", Kind.INFERENCE, 200),
    ("GET", "/v1/models/alpha/", Kind.LIST, 301),
    ("POST", "/api/chat%2F", Kind.LIST, 307),
    ("POST", "//api/chat", Kind.LIST, 307),
    ("POST", "/api//chat", Kind.LIST, 307),
    ("POST", "/api/./chat", Kind.LIST, 307),
    ("POST", "/api/x/../chat", Kind.LIST, 307),
    ("POST", "/api/chat%00", Kind.LIST, 404),
    ("POST", "/api/chat%0a", Kind.LIST, 404),
    ("POST", "/api/ch%zzat", Kind.LIST, 400),
    ("POST", "/api/ch%6", Kind.LIST, 400),
    ("POST", "/api/ch%61t%", Kind.LIST, 400),
]


@pytest.mark.parametrize(("method", "target", "kind", "status"), TARGETS + LEFT_TO_OLLAMA)
def test_what_a_target_is_for(method, target, kind, status):
    assert classify(method, decoded(target)) is kind
    assert kind is Kind.LIST or status == 200


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/a%20b", "/a b"),
        ("/%C3%A9", "/é"),
        ("/%ff", "/�"),
        ("/a%2", "/a%2"),
        ("/%41%zz", "/%41%zz"),
        ("/%41%00", "/%41%00"),
        ("/%41?%41", "/A"),
        ("/%3F?x", "/?"),
        ("", ""),
    ],
)
def test_decoding(target, path):
    assert decoded(target) == path
