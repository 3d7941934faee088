"""Units, as systemd itself reads them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from spoe_agent.fleet import load, loads
from spoe_agent.render.systemd import Programs, units

PROGRAMS = Programs(ollama="/bin/true", pointsman="/bin/true", fleet_file='/etc/100% "mine"/fleet.yaml')
NVIDIA, AMD = "GPU-8f1c6f0e-0c4e-4b8a-9f57-6f6f5b1c2d3e", "GPU-1a2b3c4d5e6f7081"
URL = 'url: "http://127.0.0.1:11435"'
EXAMPLES = Path(__file__).parents[2] / "examples"


def of(keys: str, more: str = "", programs: Programs = PROGRAMS) -> dict[str, str]:
    fleet = loads(f"instances: [{{name: g0, {URL}{keys and ', ' + keys}}}]\n{more}")
    return units(fleet, fleet.instances, programs)


KINDS = {
    "plain": ("", ""),
    "AMD": (f"gpus: [{AMD}]", ""),
    "NVIDIA": (f"gpus: [{NVIDIA}]", ""),
    "CPU": ("vram: 0", ""),
    "a store": (r"ollama: {models: '/srv/it''s 100% \here'}, env: {A: 'x \"y\" $HOME %h \\z'}", ""),
    "a store at home": ("ollama: {models: /home/me/models}", ""),
    "a store of its own": ("store: other", ""),
    "HAProxy's places": ("", "haproxy: {files: /srv/my haproxy, runtime: /run/haproxy/admin.sock}"),
    "a socket": ("", "listeners: {spop: unix@/var/lib/haproxy/pointsman.sock}\nhaproxy: {spop: unix@/pointsman.sock}"),
}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize(("keys", "more"), KINDS.values(), ids=KINDS)
def test_systemd_takes_them(tmp_path: Path, keys: str, more: str) -> None:
    haproxy = "[Service]\nType=notify\nExecStart=/bin/true $EXTRAOPTS\n"
    for name, text in {**of(keys, more), "haproxy.service": haproxy}.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    command = ["systemd-analyze", "verify", "--man=no", *sorted(tmp_path.glob("*.service"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, [line for line in done.stderr.splitlines() if str(tmp_path) in line]) == (0, [])


def settings(unit: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", unit, re.M):
        found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize(
    ("keys", "devices"),
    [("vram: 0", []), (f"gpus: [{NVIDIA}]", ["nvidia", "drm"]), (f"gpus: [{AMD}]", ["drm", "kfd"])],
)
def test_it_gets_the_devices_that_it_needs(keys: str, devices: list[str]) -> None:
    unit = settings(of(keys)["ollama-g0.service"])
    allowed = " ".join(unit.get("DeviceAllow", []))
    assert [kind for kind in ("nvidia", "drm", "kfd") if f"char-{kind}" in allowed] == devices
    assert ("PrivateDevices" in unit) == (not devices)


@pytest.mark.parametrize(
    ("keys", "home", "writes"),
    [
        ("", "ollama", []),
        ("store: other", "ollama/other", []),
        ("store: other, ollama: {models: /srv/m}", "ollama", ['"/srv/m"']),
    ],
)
def test_its_store_is_where_it_may_write(keys: str, home: str, writes: list[str]) -> None:
    unit = settings(of(keys)["ollama-g0.service"])
    assert unit["StateDirectory"] == [home] and f'"HOME=/var/lib/{home}"' in unit["Environment"]
    assert unit.get("ReadWritePaths", []) == writes


@pytest.mark.parametrize(
    ("file", "writes"),
    [("/var/lib/pointsman/d.jsonl", []), ("/var/log/pointsman/d.jsonl", ['-"/var/log/pointsman"'])],
)
def test_the_agent_may_write_its_decision_log(file: str, writes: list[str]) -> None:
    unit = settings(of("", f"policies: {{decision_log: {{file: {file}}}}}")["pointsman.service"])
    assert unit.get("ReadWritePaths", []) == writes


def test_the_agent_is_told_of_and_reloads() -> None:
    unit = settings(of("", "haproxy: {files: /etc/pointsman/haproxy}")["pointsman.service"])
    assert unit["Type"] == ["notify"] and int(unit["WatchdogSec"][0]) > 0
    assert unit["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert unit["ExecStart"] == ['"/bin/true" serve --fleet "/etc/100%% \\"mine\\"/fleet.yaml"']
    assert unit["ReadWritePaths"] == ['-"/etc/pointsman/haproxy"']
    assert "ollama-g0.service" in unit["Wants"][0]


def test_each_instance_has_a_unit() -> None:
    fleet = load(EXAMPLES / "fleet.yaml")
    assert {f"ollama-gpu{number}.service" for number in range(4)} <= units(fleet, fleet.instances, PROGRAMS).keys()


def test_haproxy_2_6_keeps_buffers_at_hand() -> None:
    assert "Environment=MALLOC_TRIM_THRESHOLD_=268435456\n" in of("")["haproxy.service.d/pointsman.conf"]
