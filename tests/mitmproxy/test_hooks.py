"""What mitmproxy loads with the addon."""

import subprocess
import sys

LOADED = "import sys, spoe_agent.mitmproxy.hooks; print(*sys.modules)"
NEEDLESS = ("spop", "haproxy", "admin", "process", "service", "serve", "surroundings", "rig", "simulator", "demo")


def test_what_is_haproxys_or_the_services_is_not_loaded():
    run = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert "pynvml" not in run.stdout
    rooms = {name.split(".")[1] for name in run.stdout.split() if name.startswith("spoe_agent.")}
    assert not rooms.intersection(NEEDLESS)
    assert "agent" in rooms
