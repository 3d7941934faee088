"""Lines as the terminal shows them."""

import io
import json
import os
import re

import pytest

from spoe_agent.haproxy.contract import LINE
from spoe_agent.up.output import QUEUE_LINES, Output, is_noise, readable

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


class Terminal(io.BytesIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "no_color", "has_colour"), [(Terminal, "", True), (Terminal, "1", False), (io.BytesIO, "", False)]
)
def test_colours_are_for_terminals(monkeypatch, stream, no_color, has_colour):
    monkeypatch.setenv("NO_COLOR", no_color)
    out = stream()
    with Output(["gpu0", "agent"], out) as output:
        output.say("gpu0", "hello")
    shown = out.getvalue().decode()
    assert shown.endswith("hello\n") and ("\x1b[" in shown) == has_colour
    assert has_colour or shown == "gpu0  | hello\n"


LEFT_OUT = re.compile(rb"\.\.\. (\d+) lines are left out here: this terminal took none\n")


def test_a_terminal_that_was_closed_is_no_error():
    out = io.BytesIO()
    with Output(["gpu0"], out) as output:
        out.close()
        output.say("gpu0", "hello")


def test_nobody_waits_for_a_terminal_that_takes_nothing():
    """As with Ctrl-S, or in `| less`: lines are left out, which is said, and not in the middle of one."""
    reading, writing = os.pipe()
    with open(reading, "rb") as pipe, open(writing, "wb", buffering=0) as out, Output(["gpu0"], out) as output:
        for number in range(QUEUE_LINES * 3):
            output.say("gpu0", f"{number:099}")
        lines = [pipe.readline() for _ in range(QUEUE_LINES // 2)]
        output.say("gpu0", "again")
        while not lines[-1].endswith(b"again\n"):
            lines.append(pipe.readline())
    left_out = [int(said[1]) for line in lines if (said := LEFT_OUT.fullmatch(line))]
    shown = [line for line in lines[:-1] if not LEFT_OUT.fullmatch(line)]
    assert left_out and sum(left_out) + len(shown) == 3 * QUEUE_LINES
    numbers = [int(line.removeprefix(b"gpu0 | ")) for line in shown]
    assert shown == [f"gpu0 | {number:099}\n".encode() for number in numbers]
    assert numbers == sorted(set(numbers))


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
        ("[WARNING]  (32228) : Backup Server pointsman_ollama/g0 is DOWN, reason: Layer4 connection problem", True),
        ("[WARNING]  (32228) : Server pointsman_ollama/g0 is UP, reason: Layer7 check passed, code: 200", True),
        ("[ALERT]    (32228) : backend 'pointsman_ollama' has no server available!", True),
        ("Backup Server pointsman_ollama/g0 is DOWN, reason: Layer4 connection problem", False),
        ("warning: HAProxy's map of models cannot be kept current place=/s why='[Errno 2] No such file'", True),
        ("warning: HAProxy's map of models cannot be kept current place=/s why='[Errno 13] Permission denied'", False),
    ],
)
def test_what_says_nothing_is_left_out(line, expected):
    assert is_noise(line) is expected
