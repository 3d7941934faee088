"""The fleet files that people start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from spoe_agent.fleet import Listen, load, specs

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_loads(path: Path) -> None:
    assert specs(load(path)).instances


def test_the_example_fleet() -> None:
    fleet = load(EXAMPLES / "fleet.yaml")
    assert fleet.listeners.spop == (Listen("127.0.0.1", 9601),)  # a socket's path is another below HAProxy's chroot
    assert [(i.name, i.port) for i in fleet.instances] == [
        ("gpu0", 11435),
        ("gpu1", 11436),
        ("gpu2", 11437),
        ("gpu3", 11438),
    ]
    assert {(i.vram_bytes, i.num_parallel, i.max_connections, i.ollama.context_length) for i in fleet.instances} == {
        (48 << 30, 4, 12, 4096)
    }
    assert [rule.instances for rule in fleet.models] == [("gpu0", "gpu1"), None]


def test_the_minimal_fleet_is_five_lines() -> None:
    path = EXAMPLES / "fleet-minimal.yaml"
    assert len(path.read_text().splitlines()) == 5
    assert [instance.name for instance in load(path).instances] == ["gpu0", "gpu1"]


def test_the_mixed_fleet() -> None:
    fleet = load(EXAMPLES / "fleet-mixed.yaml")
    assert [(i.name, i.vram_bytes, i.max_connections) for i in fleet.instances] == [
        ("large", 160 << 30, 8),
        ("small", 24 << 30, 6),
        ("chat", 16 << 30, 2),
        ("embed", 6 << 30, 8),
    ]
