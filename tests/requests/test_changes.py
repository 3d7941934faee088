"""Paths and bodies of what changes a store, as Ollama reads them."""

import pytest

from spoe_agent.requests.changes import read_change
from spoe_agent.routing.change import Change, Verb
from spoe_agent.routing.names import canonical

PULL, PUSH, CREATE, COPY, DELETE, UPLOAD = Verb
A, B = canonical("a"), canonical("b")


@pytest.mark.parametrize(
    ("path", "body", "change"),
    [
        ("/api/pull", b'{"model":"a"}', Change(PULL, makes=A)),
        ("/api/pull", b'{"model":"","name":"a"}', Change(PULL, makes=A)),
        ("/api/pull", b'{"model":"b","MODEL":"a"}', Change(PULL, makes=A)),
        ("/api/pull", b'\xef\xbb\xbf {"model":"A"} and more', Change(PULL, makes=A)),
        ("/api/pull", b'{"model":"a b"}', Change(PULL)),
        ("/api/pull", b'{"model":5}', Change(PULL)),
        ("/api/pull", b"", Change(PULL)),
        ("/api/pull", b"[]", Change(PULL)),
        ("/api/pull", b"[[1]]", Change(PULL)),
        ("/api/pull", b"[" * 100_000, Change(PULL)),
        ("/api/push", b'{"name":"a"}', Change(PUSH, A)),
        ("/api/delete", b'{"model":"a"}', Change(DELETE, A)),
        ("/api/copy", b'{"source":"a","destination":"b"}', Change(COPY, A, B)),
        ("/api/create", b'{"model":"b","from":"a"}', Change(CREATE, A, B)),
        ("/api/create", b'{"model":"b","files":{"m.gguf":"sha256:0"}}', Change(CREATE, "", B, True)),
        ("/api/create", b'{"model":"b","files":{}}', Change(CREATE, "", B)),
        ("/api/create", b'{"model":"b","from":"a","adapters":{"l":"sha256:0"}}', Change(CREATE, A, B, True)),
        ("/api/blobs/sha256:0", b"\0", Change(UPLOAD)),
        ("/api/chat", b'{"model":"a"}', None),
    ],
)
def test_what_is_wanted(path, body, change):
    assert read_change(path, body) == change
