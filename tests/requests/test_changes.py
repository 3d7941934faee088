"""Paths and bodies of what changes a store, as Ollama reads them."""

import pytest

from spoe_agent.requests.changes import CHANGE_BYTES, read_change
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
        ("/api/pull", b' {"model":"A"} and more', Change(PULL, makes=A)),
        ("/api/pull", b'\xef\xbb\xbf {"model":"A"}', Change(PULL)),
        ("/api/pull", b'{"model":"a b"}', Change(PULL)),
        ("/api/pull", b'{"model":5}', Change(PULL)),
        ("/api/pull", b"", Change(PULL)),
        ("/api/pull", b"[]", Change(PULL)),
        ("/api/pull", b"[[1]]", Change(PULL)),
        ("/api/pull", b"[" * 100_000, Change(PULL)),
        # What Go reads and Python does not.
        ("/api/pull", b'{"x":' + b"1" * 5000 + b',"model":"a"}', Change(PULL, makes=A)),
        ("/api/pull", b'{"x":' + b"[" * 9000 + b"]" * 9000 + b',"model":"a"}', Change(PULL, makes=A)),
        ("/api/push", b'{"name":"a"}', Change(PUSH, A)),
        ("/api/delete", b'{"model":"a"}', Change(DELETE, A)),
        ("/api/copy", b'{"source":"a","destination":"b"}', Change(COPY, A, B)),
        ("/api/create", b'{"model":"b","from":"a"}', Change(CREATE, A, B)),
        ("/api/create", b'{"model":"b","files":{"m.gguf":"sha256:0"}}', Change(CREATE, "", B)),
        ("/api/create", b'{"model":"b","from":"a","adapters":{"l":"sha256:0"}}', Change(CREATE, A, B)),
        ("/api/blobs/sha256:0", b"\0", Change(UPLOAD)),
        ("/api/chat", b'{"model":"a"}', None),
    ],
)
def test_what_is_wanted(path, body, change):
    assert read_change(path, body, len(body)) == change


def large(start, key="modelfile"):
    return start[:-1] + b',"' + key.encode() + b'":"' + b"x" * CHANGE_BYTES + b'"}'


LARGE = {
    "create": ("/api/create", large(b'{"Model":"b","from":"a"}'), Change(CREATE, A, B)),
    "its name behind": ("/api/create", b'{"x":"' + b"x" * CHANGE_BYTES + b'","model":"b"}', Change(CREATE)),
    "of many files": (
        "/api/create",
        b'{"model":"b","files":{"m":"' + b"x" * CHANGE_BYTES + b'"}}',
        Change(CREATE, "", B),
    ),
    "pull": ("/api/pull", large(b'{"name":"a"}'), Change(PULL, makes=A)),
    "copy": ("/api/copy", large(b'{"source":"a","destination":"b"}'), Change(COPY, A, B)),
    "a name within": ("/api/delete", large(b'{"x":{"model":"a"}}'), Change(DELETE)),
    "nested deep": ("/api/delete", b"[" * 2 * CHANGE_BYTES, Change(DELETE)),
}


@pytest.mark.parametrize(("path", "body", "change"), LARGE.values(), ids=LARGE)
def test_of_large_bodies_the_beginning_counts(path, body, change):
    assert read_change(path, body[:CHANGE_BYTES], len(body)) == change
    assert read_change(path, body, len(body)) == change
