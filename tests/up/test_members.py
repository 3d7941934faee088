"""The command lines and environments of what is run."""

from pathlib import Path

import pytest

from spoe_agent.fleet import loads
from spoe_agent.instances.environment import environment
from spoe_agent.instances.store import store_folder
from spoe_agent.up.members import ollamas, simulated

URL = 'url: "http://127.0.0.1:11435"'


@pytest.mark.parametrize(
    ("keys", "where", "told"),
    [
        ("", ".ollama/models", None),
        ("store: fast", ".ollama/fast/models", ".ollama/fast/models"),
        ("ollama: {models: /srv/m}", "/srv/m", "/srv/m"),
        ("store: fast, ollama: {models: /srv/m}", "/srv/m", "/srv/m"),
    ],
)
def test_an_ollama_has_its_environment_and_its_store(monkeypatch, keys, where, told):
    monkeypatch.setenv("HOME", "/home/me")
    (one,) = loads(f"instances: [{{name: g0, {URL}{keys and ', ' + keys}}}]").instances
    (member,) = ollamas([one], "/usr/bin/ollama", {})
    assert member.command == ("/usr/bin/ollama", "serve")
    assert store_folder(one) == Path("/home/me") / where
    models = {"OLLAMA_MODELS": str(Path("/home/me") / told)} if told else {}
    assert member.environment == environment(one) | models


def test_what_the_file_does_not_say_is_not_as_in_a_terminal():
    (one,) = loads(f"instances: [{{name: g0, {URL}}}]").instances
    terminal = {"PATH": "/bin", "OLLAMA_MODELS": "/else", "CUDA_VISIBLE_DEVICES": "3", "HSA_OVERRIDE_GFX_VERSION": "10"}
    (member,) = ollamas([one], "/usr/bin/ollama", terminal)
    kept = {"PATH": "/bin", "HSA_OVERRIDE_GFX_VERSION": "10"}
    assert member.whole_environment(terminal) == kept | environment(one)


SIMULATED = {
    # what the fleet file says -> what is among the arguments
    "as it is": ("num_parallel: 4, vram: 8GiB", "", ["--vram", str(8 << 30), "--num-parallel", "4"]),
    "memory that is not known": ("", "", ["--vram", "24GiB"]),
    "kept": ("ollama: {keep_alive: -1}", "", ["--keep-alive", "-1s"]),
    "no models": ("", "models: [{match: 'a*'}]", []),
    "models": ("", "models: [{match: a, size: 1GB}, {match: 'b*'}]", ["--models", "a=1000000000"]),
    "a model's memory": ("", "models: [{match: a, vram: 2GB}]", ["--models", "a=2000000000"]),
}


@pytest.mark.parametrize(("keys", "more", "expected"), SIMULATED.values(), ids=SIMULATED)
def test_a_simulated_one_is_like_it(keys, more, expected):
    fleet = loads(f"instances: [{{name: g0, {URL}{keys and ', ' + keys}}}]\n{more}")
    (member,) = simulated(fleet, fleet.instances, Path("/state"))
    words = " ".join(member.command)
    assert " ".join(expected) in words and "--listen 127.0.0.1:11435" in words
    assert words.count("--models") == expected.count("--models")
    assert "--store /state/stores/127.0.0.1" in words
