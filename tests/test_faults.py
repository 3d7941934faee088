"""What is written down of exceptions: kind and place, and nothing of keys, headers, prompts."""

import json
import os
import pty
import re
import ssl
import subprocess
import sys
from contextlib import suppress

import pytest

from spoe_agent.faults import kind, told

NO_FILE = "FileNotFoundError: No such file or directory"
SECRET = "it-was-a-dark-and-stormy-night"
WRONG = {
    # event -> how often
    "decision failed": 3,
    "something unforeseen went wrong": 4,
    "background work failed and begins again": 1,
    "Error handling request from %s": 1,
}


def started(folder, out):
    """Run tests.faulty, with both of its outputs there."""
    command = [sys.executable, "-m", "tests.faulty", "faulty", str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, text=True)


def all_of(handle):
    """What a terminal was sent until everybody has left it."""
    found = b""
    with suppress(OSError):  # its end
        while data := os.read(handle, 65536):
            found += data
    return found.decode()


def test_a_log_of_lines_has_kinds_and_places_of_exceptions_and_no_values(tmp_path):
    with started(tmp_path, subprocess.PIPE) as program:
        text, _ = program.communicate(SECRET)
    assert program.returncode == 1
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    events = [line["event"] for line in lines if "exception" in line]
    assert {event: events.count(event) for event in events} == WRONG
    assert all(
        "Traceback" in line["exception"] and ", line " in line["exception"] for line in lines if "exception" in line
    )
    for what in ("ValueError", "ValidationError", "UnicodeEncodeError", "ExceptionGroup", "OSError: No space left"):
        assert what in text
    # The last one ends the program.
    assert "\nTraceback (most recent call last):\n" in text
    assert SECRET not in text
    assert "stormy" not in text


def test_neither_has_a_terminal(tmp_path):
    ours, theirs = pty.openpty()
    with started(tmp_path, theirs) as program:
        os.close(theirs)
        program.stdin.write(SECRET)
        program.stdin.close()
        text = all_of(ours)
    os.close(ours)
    assert program.returncode == 1
    assert text.count("Traceback (most recent call last):") >= sum(WRONG.values())
    assert "ValueError" in text
    assert "stormy" not in text


def throw(error):
    raise error


def raised(error, **cause):
    """The exception as it is when it was raised while another one was handled, from a cause or none."""
    try:
        try:
            raise KeyError("secret")
        except KeyError:
            if cause:
                raise error from cause["cause"]
            throw(error)
    except Exception as caught:
        return caught


def names(text):
    """The kinds that a text tells, in their order."""
    return re.findall(r"^(?:  \| )*([\w.]+(?:: .*)?)$", text.replace("(most recent call last):", ""), re.M)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (raised(ValueError("secret")), ["KeyError", "ValueError"]),
        (raised(ValueError("secret"), cause=None), ["ValueError"]),
        (raised(ValueError("secret"), cause=TypeError("secret")), ["TypeError", "ValueError"]),
        (ExceptionGroup("secret", [raised(OSError(2, "secret", "secret"))]), ["ExceptionGroup", "KeyError", NO_FILE]),
        (OSError("secret"), ["OSError"]),
    ],
)
def test_what_is_behind_an_exception_and_in_it(error, expected):
    text = told(error)
    assert names(text) == expected


def test_a_chain_that_leads_back_to_its_beginning_ends():
    first, second = ValueError(), TypeError()
    first.__cause__, second.__cause__ = second, first
    assert names(told(first)) == ["TypeError", "ValueError"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(28, "secret", "secret"), "OSError: No space left on device"),
        (ssl.SSLCertVerificationError(1, "secret"), "ssl.SSLCertVerificationError"),  # that is OpenSSL's number
    ],
)
def test_what_a_number_of_the_system_means_is_told(error, expected):
    assert kind(error) == expected
