"""Who may come, by origin and by host. The tables hold behind both real fronts too (tests/e2e/test_foreign.py)."""

import re

import pytest

from spoe_agent.fleet import loads
from spoe_agent.requests.foreign import glob_regex, host_name, is_known, may_call

ALLOWED_HOSTS = ("llm.example.com", "*.lab.example", "2001:db8::7")
HOSTS = {
    # What Ollama 0.33 answered on 127.0.0.1 (200 or 403), asked each.
    "localhost": True,
    "LOCALHOST": True,
    "localhost:1": True,
    "localhost:": True,
    "127.0.0.1": True,
    "127.0.0.2:80": True,
    "10.0.0.5": True,
    "172.16.0.1": True,
    "192.168.1.1:11434": True,
    "0.0.0.0": True,
    "[::1]:11434": True,
    "x.local": True,
    "x.localhost": True,
    "x.LOCAL:80": True,
    "a.internal": True,
    ".local": True,
    "": True,
    "[::ffff:10.0.0.1]:80": True,
    "172.32.0.1": False,
    "169.254.1.1": False,
    "100.64.0.1": False,
    "8.8.8.8": False,
    "[2001:db8::1]:80": False,
    "[fe80::1]:80": False,
    "[::ffff:8.8.8.8]:80": False,
    "evil.example": False,
    "evil.example:11434": False,
    "evil.example:80:80": False,
    "local": False,
    "localhost.": False,
    "localhost.evil.example": False,
    "127.1": False,
    "2130706433": False,
    "127.0.0.1.": False,
    # Ollama answers 403, because Go's parser wants a port behind the brackets; they name no other server.
    "[::1]": True,
    "[fc00::1]": True,
    # The fleet file's.
    "llm.example.com": True,
    "LLM.example.com:443": True,
    "llm.example.com.evil.example": False,
    "xllm.example.com": False,
    "llmxexample.com": False,
    "a.b.lab.example": True,
    "lab.example": False,
    "[2001:db8::7]:443": True,
}


@pytest.mark.parametrize(("header", "passes"), HOSTS.items())
def test_hosts(header, passes):
    assert is_known(host_name(header), ("its-name", "203.0.113.9"), ALLOWED_HOSTS) is passes


@pytest.mark.parametrize("header", ["its-name", "ITS-NAME:11434", "203.0.113.9:80", "[2001:db8::9]:1"])
def test_its_own_name_and_address(header):
    assert is_known(host_name(header), ("Its-Name", "203.0.113.9", "2001:db8::9"), ())
    assert not is_known(host_name(header), ("another", "127.0.0.1"), ())


def test_a_star_lets_every_host_in():
    assert is_known("evil.example", (), ("*",))


USUAL = loads('instances: [{name: gpu0, url: "http://h:1"}]').policies.allowed_origins
HOST = "localhost:11434"
ORIGINS = {
    # What Ollama 0.33 answered (200 or 403), asked each.
    "": True,
    "http://localhost": True,
    "http://localhost:3000": True,
    "https://127.0.0.1": True,
    "http://0.0.0.0:1": True,
    "app://obsidian.md": True,
    "file://": True,
    "tauri://localhost": True,
    "vscode-webview://x": True,
    "vscode-file://vscode-app": True,
    "null": False,
    "http://[::1]": False,
    "http://[::1]:3000": False,
    "chrome-extension://abcdef": False,
    "moz-extension://abcdef": False,
    "safari-web-extension://abcdef": False,
    "https://evil.example": False,
    "http://localhost.evil.example": False,
    "https://evil.example/http://localhost": False,
    "http://a.localhost": False,
    # Ollama answers 403; browsers write origins in lower case.
    "HTTPS://LOCALHOST:3000": True,
}


@pytest.mark.parametrize(("origin", "passes"), ORIGINS.items())
def test_origins(origin, passes):
    assert may_call(origin, HOST, True, USUAL) is passes


@pytest.mark.parametrize(
    ("origin", "host", "is_known", "passes"),
    [
        ("http://llm.local", "llm.local", True, True),
        ("https://llm.local:8443", "LLM.local:8443", True, True),
        ("http://llm.local:8080", "llm.local", True, False),
        ("http://evil.example", "evil.example", False, False),
        ("ftp://llm.local", "llm.local", True, False),
    ],
)
def test_a_page_of_the_server_itself_may_call_where_the_server_knows_its_name(origin, host, is_known, passes):
    assert may_call(origin, host, is_known, ()) is passes


@pytest.mark.parametrize("allowed", [("*",), ("https://*.example.com",), ("null", "https://a.example.com")])
def test_the_fleet_files_word_holds(allowed):
    assert may_call("https://a.example.com", HOST, True, allowed)
    assert may_call("chrome-extension://abcdef", HOST, True, (*allowed, "chrome-extension://*"))


GLOBS = [
    # allowed, asked -> let in
    ("http://localhost", "http://localhost", True),
    ("http://localhost", "http://localhost:80", False),
    ("http://localhost", "http://localhost.evil.com", False),
    ("http://localhost", "https://localhost", False),
    ("http://localhost", "evil-http://localhost", False),
    ("http://localhost:*", "http://localhost:3000", True),
    ("http://localhost:*", "http://localhost", False),
    ("http://127.0.0.1", "http://127x0y0z1", False),
    ("https://*.example.com", "https://a.b.example.com", True),
    ("https://*.example.com", "https://example.com", False),
    ("https://*.example.com", "https://a.example.com.evil.com", False),
    ("https://*.Example.com", "https://a.example.com", True),
    ("app://*", "app://obsidian.md", True),
    ("*", "https://anybody.example", True),
    ("*", "null", True),
    ("null", "null", True),
    ("https://a.example/(b)[c]+^$|", "https://a.example/(b)[c]+^$|", True),
    ("https://a.example/(b|c)", "https://a.example/b", False),
]


@pytest.mark.parametrize(("allowed", "asked", "let_in"), GLOBS)
def test_globs(allowed, asked, let_in):
    assert bool(re.search(glob_regex(allowed), asked)) is let_in
