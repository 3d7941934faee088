import pytest
from mitmproxy.test import tflow

from spoe_agent.mitmproxy.doorstep import INSIDE, enter

CASES = [
    ("", "/api/chat", True, "/api/chat"),
    ("", "*", True, "*"),
    ("/ollama", "/ollama/api/chat?x=/ollama", True, "/api/chat?x=/ollama"),
    ("/ollama", "/ollama", True, "/"),
    ("/ollama", "/ollama?x=1", True, "/?x=1"),
    ("/ollama", "/ollama/", True, "/"),
    ("/ollama", "/ollamas/api/chat", False, "/ollamas/api/chat"),
    ("/ollama", "/api/chat", False, "/api/chat"),
    ("/ollama", "/?/ollama/", False, "/?/ollama/"),
]


@pytest.mark.parametrize(("prefix", "asked", "inside", "path"), CASES)
def test_the_prefix_is_taken_off_once(prefix, asked, inside, path):
    flow = tflow.tflow()
    flow.request.path = asked
    for _ in range(2):
        enter(flow, prefix)
        assert (flow.metadata[INSIDE], flow.request.path) == (inside, path)
