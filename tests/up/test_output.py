"""Lines as the terminal shows them."""

import io
import json

import pytest

from spoe_agent.haproxy.contract import LINE
from spoe_agent.up.output import Output, is_noise, readable

REQUEST = dict.fromkeys(LINE, "-") | {
    "method": "POST",
    "path": "/api/chat",
    "model": "llama3:8b",
    "server": "gpu0",
    "reason": "loaded",
    "status": 200,
    "hold_ms": "0",
    "active_ms": 1234,
}
LINES = {
    "plain": ("time=... level=INFO msg=hello", "time=... level=INFO msg=hello"),
    "moves the cursor": ("a\x1b[2Jb\r", "a [2Jb"),
    "agent": (
        '{"event": "instance answers", "instance": "gpu0", "level": "info", "timestamp": "t", "why": "a b"}',
        "instance answers instance=gpu0 why='a b'",
    ),
    "agent warns": ('{"event": "late", "level": "warning", "n": [1]}', "warning: late n=[1]"),
    "request": (json.dumps(REQUEST), "POST /api/chat llama3:8b -> gpu0 (loaded) 200, 1234 ms"),
    "held": (
        json.dumps(REQUEST | {"hold_ms": "20"}),
        "POST /api/chat llama3:8b -> gpu0 (loaded) 200, held 20 ms, 1234 ms",
    ),
    "controls in a path": (
        json.dumps(REQUEST | {"path": "/\x1b[2J"}),
        r"POST /\x1b[2J llama3:8b -> gpu0 (loaded) 200, 1234 ms",
    ),
    "other JSON": ('{"a": 1}', '{"a": 1}'),
    "broken JSON": ('{"event":', '{"event":'),
}


@pytest.mark.parametrize(("line", "shown"), LINES.values(), ids=LINES)
def test_a_line_is_made_readable(line, shown):
    assert readable(line) == shown


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "no_color", "has_colour"), [(Terminal, "", True), (Terminal, "1", False), (io.StringIO, "", False)]
)
def test_colours_are_for_terminals(monkeypatch, stream, no_color, has_colour):
    monkeypatch.setenv("NO_COLOR", no_color)
    out = stream()
    Output(["gpu0", "agent"], out).say("gpu0", "hello")
    assert out.getvalue().endswith("hello\n") and ("\x1b[" in out.getvalue()) == has_colour
    assert has_colour or out.getvalue() == "gpu0  | hello\n"


def test_a_terminal_that_was_closed_is_no_error():
    out = io.StringIO()
    output = Output(["gpu0"], out)
    out.close()
    output.say("gpu0", "hello")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('[GIN] 2026/11/30 - 10:30:51 | 200 |      25.758µs |       127.0.0.1 | GET      "/api/ps"', True),
        ('[GIN] 2026/11/30 - 10:30:51 | 200 |      25.758µs |       127.0.0.1 | GET      "/"', True),
        ('[GIN] 2026/11/30 - 10:30:51 | 503 |      25.758µs |       127.0.0.1 | GET      "/api/ps"', False),
        ('[GIN] 2026/11/30 - 10:30:51 | 200 |      25.758µs |       127.0.0.1 | POST     "/api/chat"', False),
        ("[GIN-debug] GET    /api/ps  --> x (5 handlers)", True),
        ("[WARNING]  (25032) : Proxy pointsman stopped (cumulated conns: FE: 2, BE: 0).", True),
        ("[ALERT] cannot bind", False),
    ],
)
def test_what_says_nothing_is_left_out(line, expected):
    assert is_noise(line) is expected
