"""What is known of a HAProxy before it runs."""

import pytest

from spoe_agent.haproxy.program import refusal, unfit
from spoe_agent.rig.haproxy import find_haproxy


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        ("2.4.22", False),
        ("2.5.0", False),
        ("2.6.12", True),
        ("3.0.11", True),
        ("3.2.0", False),
        ("3.2.13", False),
        ("3.2.14", True),
        ("3.2.26", True),
        ("3.4.0", True),
    ],
)
def test_versions(version, fits):
    assert (unfit(version) == "") is fits


def test_a_configuration_that_haproxy_takes_and_one_that_it_refuses(tmp_path):
    good, bad = tmp_path / "good.cfg", tmp_path / "bad.cfg"
    text = "defaults\n  mode http\n  timeout client 1s\nfrontend f\n  bind 127.0.0.1:1\n"
    good.write_text(text)
    bad.write_text(text + "  nonsense\n")
    assert refusal(find_haproxy(), good) == ""
    assert "nonsense" in refusal(find_haproxy(), bad)
