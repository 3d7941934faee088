"""Which instances are this machine's."""

import psutil
import pytest

from spoe_agent.fleet import loads
from spoe_agent.instances.here import here

OWN = [one.address for one in psutil.net_if_addrs()["lo"] if "." in one.address]


@pytest.mark.parametrize(
    ("url", "is_here"),
    [
        (f"http://{OWN[0]}:1", True),
        ("http://localhost:1", True),
        ("http://192.0.2.7:1", False),
        ("http://gpu-box.lan:1", False),
        ("https://localhost:1", False),
        ("http://127.0.0.1:1/behind", False),
    ],
)
def test_by_address(url, is_here):
    proof = ", ca_file: /ca" if "https" in url else ""
    fleet = loads(f'instances: [{{name: g0, url: "{url}"{proof}}}]')
    assert here(fleet) == [one for one in fleet.instances if is_here]
