"""What a server line needs for its host."""

import pytest

from spoe_agent.haproxy.names import in_hosts_file, server_options

STARTS = " init-addr last,libc,none"
FOLLOWS = f"{STARTS} resolvers pointsman_dns resolve-prefer ipv4"


@pytest.mark.parametrize(
    ("host", "options"),
    [
        ("127.0.0.1", ""),
        ("::1", ""),
        ("ollama.example", FOLLOWS),
        ("gpu-box", STARTS),
        ("GPU-Box", STARTS),
        ("localhost", STARTS),
    ],
)
def test_a_name_may_be_unknown_at_the_start_and_lead_elsewhere_later(host, options):
    assert server_options(host, frozenset({"gpu-box", "localhost"})) == options


def test_names_that_this_host_has_in_a_file(tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n# 10.0.0.1 old\n10.0.0.7\tGPU-Box gpu.lan # new\n\n10.0.0.8\n")
    assert in_hosts_file(hosts) == {"localhost", "gpu-box", "gpu.lan"}
    assert in_hosts_file(tmp_path / "none") == {"localhost"}
