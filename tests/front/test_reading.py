import pytest

from spoe_agent.front.reading import facts
from spoe_agent.routing import Dialect, Kind, Problem
from spoe_agent.routing.names import canonical

M = canonical("m")
JSON = b'{"model":"m"}'
FORM = b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--B--\r\n'


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "model", "problem"),
    [
        ("POST", "/api/chat", JSON, Kind.INFERENCE, M, None),
        ("POST", "/api/show", JSON, Kind.DESCRIBE, M, None),
        ("GET", "/v1/models/m", b"", Kind.DESCRIBE, M, None),
        ("GET", "/v1/models/n%2Fm", b"", Kind.DESCRIBE, canonical("n/m"), None),
        ("GET", "/api/tags", b"", Kind.LIST, None, None),
        ("GET", "/api/chat", JSON, Kind.LIST, None, None),
        ("POST", "/api/pull", JSON, Kind.MANAGE, None, None),
        ("POST", "/api/chat", b"no", Kind.INFERENCE, None, Problem.UNREADABLE),
        ("POST", "/api/chat", b'{"model":"a b"}', Kind.INFERENCE, None, Problem.BAD_NAME),
        ("POST", "/api/chat", b'{"x":"%s","model":"m"}' % (b"y" * 5_000_000), Kind.INFERENCE, M, None),
    ],
)
def test_what_a_request_shows(method, path, body, kind, model, problem):
    shown = facts("r1", method, path, body)
    assert (shown.request_id, shown.kind, shown.model, shown.problem) == ("r1", kind, model, problem)


def test_forms_need_their_type():
    assert facts("r1", "POST", "/v1/audio/transcriptions", FORM, "multipart/form-data; boundary=B").model == M
    assert facts("r1", "POST", "/v1/audio/transcriptions", FORM).problem is Problem.UNREADABLE


def test_the_dialect_is_the_paths():
    assert facts("r1", "POST", "/v1/messages", b"").dialect is Dialect.ANTHROPIC
