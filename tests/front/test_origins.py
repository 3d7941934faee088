import pytest

from spoe_agent.fleet import loads
from spoe_agent.front.answers import Answer
from spoe_agent.front.origins import at_the_door

ALLOWED = loads('instances: [{name: gpu0, url: "http://h:1"}]').policies.allowed_origins


@pytest.mark.parametrize(
    ("origin", "passes"),
    [
        (None, True),
        ("http://localhost", True),
        ("http://localhost:3000", True),
        ("HTTPS://LOCALHOST:3000", True),
        ("app://obsidian.md", True),
        ("", False),
        ("null", False),
        ("https://evil.example", False),
        ("http://localhost.evil.example", False),
        ("https://evil.example/http://localhost", False),
    ],
)
def test_whose_pages_may_call(origin, passes):
    assert at_the_door(origin, "POST", "", ALLOWED) == (None if passes else Answer(403))


def test_a_preflight_is_answered():
    answer = at_the_door("http://localhost:1", "OPTIONS", "authorization, x-a", ALLOWED)
    assert answer.status == 204
    assert answer.headers == {
        "Access-Control-Allow-Origin": "http://localhost:1",
        "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS",
        "Access-Control-Allow-Headers": "authorization, x-a",
        "Access-Control-Max-Age": "43200",
        "Vary": "Origin",
    }


def test_a_preflight_of_a_foreign_page_is_not():
    assert at_the_door("https://evil.example", "OPTIONS", "", ALLOWED) == Answer(403)


def test_options_of_no_page_go_on():
    assert at_the_door(None, "OPTIONS", "", ALLOWED) is None


@pytest.mark.parametrize("allowed", [("*",), ("https://*.example.com",), ("null", "https://a.example.com")])
def test_the_fleet_files_word_holds(allowed):
    assert at_the_door("https://a.example.com", "GET", "", allowed) is None
