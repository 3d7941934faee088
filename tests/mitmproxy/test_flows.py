"""What is sent on of a request, where it must not matter which bytes a client put into its headers."""

from mitmproxy.http import Headers
from mitmproxy.test import tflow, tutils

from spoe_agent.mitmproxy.flows import send_to_door


def test_the_door_gets_headers_of_the_body_whatever_bytes_they_are():
    headers = Headers([(b"Expect", b"\xff100"), (b"Content-Length", b"2"), (b"X-\xfe", b"\xfd")])
    flow = tflow.tflow(req=tutils.treq(headers=headers, content=b"{}"))
    send_to_door(flow, "127.0.0.1", 9)
    sent = dict(flow.request.headers.fields)
    assert sent.pop(b"x-request-id")
    assert flow.id.encode() in sent.values()
    assert {name: sent[name] for name in (b"Expect", b"Content-Length", b"host")} == {
        b"Expect": b"\xff100",
        b"Content-Length": b"2",
        b"host": b"127.0.0.1:9",
    }
    assert len(sent) == 4
