import pytest

from spoe_agent.fleet import loads
from spoe_agent.mitmproxy.entry import Visit, is_foreign_page, preflight, refusal

ONE = 'instances: [{name: gpu0, url: "http://h:1"}]\n'
LOOPBACK = loads(ONE)
NETWORK = loads(ONE + "listeners: {front: 0.0.0.0:11434, insecure: true}")
NAMED = loads(ONE + "listeners: {front: 0.0.0.0:11434, insecure: true}\npolicies: {allowed_hosts: [llm.example.com]}")
ANY = loads(ONE + "policies: {allowed_hosts: ['*']}")
PAGE = "http://localhost:3000"


@pytest.mark.parametrize(
    ("fleet", "host", "reason"),
    [
        (LOOPBACK, "localhost:11434", None),
        (LOOPBACK, "", None),
        (LOOPBACK, "evil.example", "foreign host"),
        (NETWORK, "evil.example", None),
        (NAMED, "evil.example", "foreign host"),
        (NAMED, "llm.example.com", None),
        (NAMED, "203.0.113.9", None),
        (ANY, "evil.example", None),
    ],
)
def test_host_names_count_on_loopback_and_where_the_file_gives_them(fleet, host, reason):
    choice = refusal(Visit("GET", host=host, own=("name", "203.0.113.9")), fleet)
    assert (choice and choice.reason) == reason
    if choice is not None:
        assert choice.status == 403
        assert host in choice.message and "allowed_hosts" in choice.message


def test_a_foreign_page_is_told_which_key_would_let_it_in():
    choice = refusal(Visit("POST", "https://evil.example", "localhost"), LOOPBACK)
    assert (choice.status, choice.reason) == (403, "foreign origin")
    assert "https://evil.example" in choice.message and "allowed_origins" in choice.message


def test_what_a_refusal_repeats_is_short():
    assert len(refusal(Visit("GET", host="x" * 5000), LOOPBACK).message) < 400
    assert len(refusal(Visit("GET", "http://" + "x" * 5000), LOOPBACK).message) < 400


def test_a_preflight_is_answered():
    answer = preflight(Visit("OPTIONS", PAGE, asked_headers="authorization, x-a"))
    assert answer.status == 204
    assert answer.headers == {
        "Access-Control-Allow-Origin": PAGE,
        "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS",
        "Access-Control-Allow-Headers": "authorization, x-a",
        "Access-Control-Max-Age": "43200",
        "Vary": "Origin",
    }


def test_a_preflight_of_a_foreign_page_is_refused_and_one_for_a_foreign_host_is_not():
    """As Ollama does it: the browser learns of the host when it sends the request itself."""
    assert refusal(Visit("OPTIONS", "https://evil.example", "localhost"), LOOPBACK) is not None
    assert refusal(Visit("OPTIONS", PAGE, "evil.example"), LOOPBACK) is None
    assert refusal(Visit("POST", PAGE, "evil.example"), LOOPBACK) is not None


@pytest.mark.parametrize("visit", [Visit("OPTIONS"), Visit("OPTIONS", "http://h:1", "h:1"), Visit("POST", PAGE)])
def test_what_is_no_preflight_goes_on(visit):
    assert preflight(visit) is None


def test_only_pages_from_elsewhere_need_leave():
    assert is_foreign_page(Visit("GET", PAGE, "localhost"))
    assert not is_foreign_page(Visit("GET", "", "localhost"))
    assert not is_foreign_page(Visit("GET", "https://llm.local", "llm.local"))
