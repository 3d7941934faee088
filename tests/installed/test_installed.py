"""What users install: complete, alone in its environment, and working from a folder far from the checkout."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from spoe_agent.cli import COMMANDS
from spoe_agent.fleet import load
from spoe_agent.haproxy.render import haproxy_files
from spoe_agent.rig.process import free_port
from spoe_agent.written import LIST
from tests.e2e.conftest import haproxies
from tests.installed.conftest import Built, Installed, tracked

pytestmark = pytest.mark.timeout(180)  # the first test of an environment installs it

EXAMPLE = Path(__file__).parents[2] / "examples" / "fleet.yaml"


def test_the_wheel_has_every_file_of_the_package_and_nothing_beside_it(built: Built) -> None:
    found = {name for name in built.in_wheel() if ".dist-info/" not in name}
    assert found == {name for name in tracked() if name.startswith("spoe_agent/")}


def test_the_sdist_has_the_whole_tree(built: Built) -> None:
    assert built.in_sdist() == tracked() | {"PKG-INFO"}


def test_one_package_and_one_command_are_installed(from_wheel: Installed) -> None:
    said = from_wheel.run("python", "-c", "from importlib.metadata import files; print(*files('pointsman'), sep='\\n')")
    tops = {line.partition("/")[0] for line in said.stdout.splitlines() if not line.startswith("..")}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"spoe_agent"}
    assert from_wheel.run("python", "-c", "import addon").returncode == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_starts_with_what_the_metadata_asks_for(from_wheel: Installed, command: str) -> None:
    done = from_wheel.run("pointsman", command, "--help")
    assert (done.returncode, done.stderr) == (0, "")


def test_it_renders_what_haproxy_takes(package: Installed) -> None:
    (package.folder / "fleet.yaml").write_text(EXAMPLE.read_text())
    checked = package.run("pointsman", "check")
    assert (checked.returncode, checked.stdout) == (0, "fleet.yaml: ok, 4 instances, 2 model rules\n")
    assert package.run("pointsman", "render", "haproxy", "--out", "rendered").returncode == 0
    out = package.folder / "rendered"
    written = {str(path.relative_to(out)): path.read_text() for path in out.rglob("*.*") if path.name != LIST}
    assert written == haproxy_files(load(EXAMPLE))
    for binary in haproxies().values():
        done = subprocess.run([binary, "-c", "-f", out / "haproxy.cfg"], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr


def test_the_demo_runs(package: Installed) -> None:
    done = package.run("pointsman", "demo", "--requests", "40", "--json", timeout_s=100)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["failed"] == 0


def test_without_mitmproxy_the_addon_says_what_to_install(from_wheel: Installed) -> None:
    done = from_wheel.run("pointsman", "addon")
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install '.[mitmproxy]'" in done.stderr


def test_the_addon_routes_under_mitmdump(from_sdist: Installed) -> None:
    front, ollama = free_port(), free_port()
    (from_sdist.folder / "fleet.yaml").write_text(
        f'listeners: {{front: "127.0.0.1:{front}"}}\ninstances: [{{name: gpu0, url: "http://127.0.0.1:{ollama}"}}]\n'
    )
    commands = [
        ["sh", "-c", f"exec pointsman simulate --listen 127.0.0.1:{ollama} --models llama3.2:3b=2GB"],
        ["sh", "-c", 'exec mitmdump -s "$(pointsman addon)"'],
    ]
    with (from_sdist.folder / "output").open("w") as output:
        running = [
            subprocess.Popen(command, cwd=from_sdist.folder, env=from_sdist.env(), stdout=output, stderr=output)
            for command in commands
        ]
    try:
        assert asked(f"http://127.0.0.1:{front}/api/generate") == ("gpu0 room", True)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(10)


def asked(url: str, deadline_s: float = 30.0) -> tuple[str, bool]:
    """Ask for one answer, as soon as somebody listens; return the choice and whether the answer was whole."""
    body = json.dumps({"model": "llama3.2:3b", "prompt": "hello", "stream": False}).encode()
    until_s = time.monotonic() + deadline_s
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body), timeout=30) as answer:
                return answer.headers["x-pointsman"], json.load(answer)["done"]
        except urllib.error.URLError:
            if time.monotonic() > until_s:
                raise
        time.sleep(0.05)
