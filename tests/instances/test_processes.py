"""What Ollamas of this host were started with: real processes of that name, whose environment is read."""

import asyncio
import os
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from spoe_agent.agent.settings import Started
from spoe_agent.fleet import loads
from spoe_agent.instances.processes import OllamaProcesses, started

LISTEN = """
import socket, sys
listening = socket.socket()
listening.bind(("127.0.0.1", 0))
listening.listen()
print(listening.getsockname()[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def process(folder, name, **environment):
    """A process of that name that listens; its port."""
    program = folder / name
    if not program.exists():
        program.symlink_to(sys.executable)
    command = [str(program), "-I", "-c", LISTEN]
    with subprocess.Popen(
        command, env=os.environ | environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            yield int(running.stdout.readline())
        finally:
            running.stdin.close()


def instances(port, url="http://127.0.0.1:{}", more=""):
    return loads(f'instances: [{{name: g0, url: "{url.format(port)}"{more}}}]').instances


def look(of, version="0.33.0"):
    told = {}
    processes = OllamaProcesses(lambda: of.instances, told.__setitem__, lambda _name: version)
    asyncio.run(processes.look())
    return processes, told


@pytest.mark.parametrize("url", ["http://127.0.0.1:{}", "http://localhost:{}"])
def test_the_process_that_listens_there_tells(tmp_path, url):
    with process(tmp_path, "ollama", OLLAMA_NUM_PARALLEL="4", OLLAMA_MAX_LOADED_MODELS="2") as port:
        _, told = look(SimpleNamespace(instances=instances(port, url)))
    assert told == {"g0": Started(4, 2)}


def test_another_program_or_another_port_tells_nothing(tmp_path):
    with (
        process(tmp_path, "proxy", OLLAMA_NUM_PARALLEL="4") as port,
        process(tmp_path, "ollama", OLLAMA_NUM_PARALLEL="8"),
    ):
        _, told = look(SimpleNamespace(instances=instances(port)))
    assert told == {"g0": Started()}


def test_the_next_process_is_found(tmp_path):
    of = SimpleNamespace()
    with process(tmp_path, "ollama", OLLAMA_NUM_PARALLEL="4") as port:
        of.instances = instances(port)
        processes, told = look(of)
    asyncio.run(processes.look())
    assert told == {"g0": Started()}
    with process(tmp_path, "ollama", OLLAMA_NUM_PARALLEL="2", OLLAMA_MAX_LOADED_MODELS="5") as port:
        of.instances = instances(port)
        asyncio.run(processes.look())
    assert told == {"g0": Started(2, 5)}


def test_instances_of_other_hosts_and_behind_proxies_are_left_alone():
    _, told = look(SimpleNamespace(instances=instances("", "http://gpu7.example:11434{}")))
    assert told == {}
    _, told = look(SimpleNamespace(instances=instances("", "http://127.0.0.1:8080/ollama{}")))
    assert told == {}


@pytest.mark.parametrize(
    ("environment", "version", "gpus", "expected"),
    [
        ({"OLLAMA_NUM_PARALLEL": "4", "OLLAMA_MAX_LOADED_MODELS": "6"}, "0.33.0", 1, Started(4, 6)),
        ({}, "0.33.0", 2, Started(1, 6)),
        ({}, "0.33.0-rc2", 0, Started(1, None)),
        ({}, "1.0", 0, Started(1, None)),
        ({}, "0.9.6", 1, Started(None, 3)),
        ({}, "", 0, Started()),
        ({"OLLAMA_NUM_PARALLEL": "0", "OLLAMA_MAX_LOADED_MODELS": "0"}, "", 0, Started()),
        ({"OLLAMA_NUM_PARALLEL": "many", "OLLAMA_MAX_LOADED_MODELS": "-2"}, "0.33.0", 1, Started(1, 3)),
        ({"OLLAMA_NUM_PARALLEL": ' "4" '}, "", 0, Started(4, None)),
    ],
)
def test_what_an_environment_means(environment, version, gpus, expected):
    assert started(environment, version, gpus) == expected
