"""The compose file: by Compose's own schema, and what is in it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from spoe_agent.fleet import load, loads
from spoe_agent.instances.environment import environment
from spoe_agent.render.compose import Folders, NotInContainers, compose_file

ROOT = Path(__file__).parents[2]
VALIDATOR = shutil.which("check-jsonschema", path=ROOT / ".venv-clients" / "bin") or shutil.which("check-jsonschema")
NVIDIA, AMD = "GPU-8f1c6f0e-0c4e-4b8a-9f57-6f6f5b1c2d3e", "GPU-1a2b3c4d5e6f7081"
FLEET = f"""
haproxy: {{files: /etc/pointsman/haproxy}}
instances:
  - {{name: n, url: "http://127.0.0.1:11435", gpus: [{NVIDIA}], env: {{A: "$B"}}}}
  - {{name: a, url: "http://127.0.0.1:11436", gpus: [{AMD}], ollama: {{models: /srv/models}}}}
  - {{name: c, url: "http://127.0.0.1:11437", vram: 0, store: small}}
"""


def of(text: str) -> dict[str, Any]:
    fleet = loads(text)
    found: dict[str, Any] = yaml.safe_load(compose_file(fleet, fleet.instances, Folders("./fleet.yaml")))
    return found


@pytest.mark.skipif(VALIDATOR is None, reason="check-jsonschema is not installed (make .venv-clients/.installed)")
@pytest.mark.parametrize("file", ["fleet.yaml", "fleet-minimal.yaml", None])
def test_compose_takes_it(tmp_path: Path, file: str | None) -> None:
    fleet = load(ROOT / "examples" / file) if file else loads(FLEET)
    (tmp_path / "compose.yaml").write_text(compose_file(fleet, fleet.instances, Folders("./fleet.yaml")))
    command = [str(VALIDATOR), "--builtin-schema", "vendor.compose-spec", tmp_path / "compose.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout


def test_every_instance_has_its_environment_image_and_devices() -> None:
    services = of(FLEET)["services"]
    assert list(services) == ["ollama-n", "ollama-a", "ollama-c", "agent", "haproxy"]
    for one in loads(FLEET).instances:
        assert services[f"ollama-{one.name}"]["environment"] == environment(one) | ({"A": "$$B"} if one.env else {})
    assert [services[f"ollama-{name}"]["image"] for name in "nac"] == [
        "ollama/ollama",
        "ollama/ollama:rocm",
        "ollama/ollama",
    ]
    assert [name for name, service in services.items() if "deploy" in service] == ["ollama-n", "agent"]
    assert [name for name, service in services.items() if "devices" in service] == ["ollama-a"]


def test_stores_and_haproxys_files_are_where_both_sides_look() -> None:
    found = of(FLEET)
    volumes = {name: service["volumes"] for name, service in found["services"].items()}
    assert volumes["ollama-n"] == ["ollama:/root/.ollama"]
    assert volumes["ollama-a"] == [{"type": "bind", "source": "/srv/models", "target": "/srv/models"}]
    assert volumes["ollama-c"] == ["ollama-small:/root/.ollama"]
    assert found["volumes"].keys() == {"ollama", "ollama-small", "pointsman"}
    written, read = volumes["agent"][1], volumes["haproxy"][0]
    assert (written["source"], written["target"]) == ("./haproxy", "/etc/pointsman/haproxy")
    assert read["source"] == "./haproxy" and read["read_only"]


def test_the_agents_image_is_built_from_what_is_there() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    for line in lines:
        assert not line.startswith("!") or (ROOT / line[1:]).exists()
    dockerfile = (ROOT / "Dockerfile").read_text()
    agent = of(FLEET)["services"]["agent"]
    assert f"docker build -t {agent['image']} ." in dockerfile
    assert agent["volumes"][0]["target"] in dockerfile and "/var/lib/pointsman" in agent["volumes"][2]


def test_keys_and_certificate_are_where_both_sides_look_and_only_to_be_read() -> None:
    found = of(FLEET + "keys: {file: /srv/keys/keys.json}\ntls: {certificate: /srv/front.pem}\n")["services"]
    for service, path in (("agent", "/srv/keys"), ("haproxy", "/srv/front.pem")):
        assert {"type": "bind", "source": path, "target": path, "read_only": True} in found[service]["volumes"]


def test_keys_beside_the_fleet_file_are_refused() -> None:
    with pytest.raises(NotInContainers, match="folder of its own"):
        of(FLEET + "keys: {file: /etc/pointsman/keys.json}\n")
