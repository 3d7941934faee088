"""What is in the way, one by one."""

import re
import socket
import tempfile
from pathlib import Path

import pytest

from spoe_agent.fleet import loads
from spoe_agent.gpus.reading import GpuReading
from spoe_agent.haproxy.models_map import MODELS_MAP
from spoe_agent.keys.entry import Key, hash_of
from spoe_agent.keys.file import change
from spoe_agent.keys.operators import VARIABLE
from spoe_agent.rig.process import free_port
from spoe_agent.up.members import CONFIGS
from spoe_agent.up.obstacles import of_files, of_folder, of_front, of_gpus, of_key, of_ollama, of_ports
from tests.nobody import closed
from tests.serving import DEADLINE_S


def program(folder, says, status=0):
    path = folder / "program"
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {status}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("says", "status", "expected"),
    [
        ("ollama version is 0.33.0", 0, ""),
        ("ollama version is 0.24.0", 0, "Ollama 0.24.0 at .* is too old"),
        ("", 1, "cannot be run"),
    ],
)
def test_ollamas_program(tmp_path, says, status, expected):
    found = list(of_ollama(program(tmp_path, says, status)))
    assert len(found) == bool(expected)
    if expected:
        with pytest.raises(ValueError, match=expected):
            raise ValueError(found[0])


@pytest.mark.parametrize(
    ("says", "expected"),
    [("HAProxy version 2.6.12", 0), ("HAProxy version 2.4.1", 1), ("HAProxy version 3.2.3", 1)],
)
def test_haproxys_program(tmp_path, says, expected):
    assert len(list(of_front("haproxy", program(tmp_path, says)))) == expected


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("", "a key is needed"),
        ("wrong", "this key is not known"),
        ("serves", "this key is for models"),
        ("manages", ""),
    ],
)
def test_the_key_that_the_agent_asks_for(tmp_path, monkeypatch, sent, expected):
    file = tmp_path / "keys.json"
    change(
        file,
        lambda _: (
            Key(name="a", hash=hash_of("serves")),
            Key(name="b", hash=hash_of("manages"), manage=True),
        ),
    )
    monkeypatch.setenv(VARIABLE, sent)
    instances = 'instances: [{name: g0, url: "http://127.0.0.1:1"}]'
    assert list(of_key(loads(instances))) == []
    said = list(of_key(loads(f"keys: {{file: {file}, admin: true}}\n{instances}")))
    assert len(said) == bool(expected) and all(one.startswith(expected) for one in said)


@pytest.mark.parametrize("front", ["haproxy", "mitmproxy"])
def test_a_program_that_is_missing(front):
    (told,) = of_front(front, None)
    assert "is not on the path" in told
    (told,) = of_ollama(None)
    assert "--simulate" in told


def test_ports_of_the_chosen_front_only():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listeners = f'front: "127.0.0.1:{free_port()}", spop: "127.0.0.1:{port}"'
        for name in ("check", "admin", "door", "again"):
            listeners += f', {name}: "127.0.0.1:{free_port()}"'
        listeners += f', log: "127.0.0.1:{free_port(socket.SOCK_DGRAM)}"'
        fleet = loads(f'listeners: {{{listeners}}}\ninstances: [{{name: g0, url: "http://127.0.0.1:{free_port()}"}}]')
        (told,) = of_ports(fleet, fleet.instances, "haproxy")
        assert told.startswith(f"listeners.spop: 127.0.0.1:{port} is taken by process")
        assert list(of_ports(fleet, fleet.instances, "mitmproxy")) == []


@pytest.mark.parametrize(
    ("does", "expected"),
    [
        ("exit 0", ""),
        ("echo '[ALERT] no' >&2; exit 1", r"HAProxy refuses its files in .*/haproxy: \[ALERT\] no"),
        ("exec sleep 60", "HAProxy's files: .* timed out"),
    ],
)
def test_what_haproxy_says_of_its_files(tmp_path, does, expected):
    binary = tmp_path / "program"
    binary.write_text(f"#!/bin/sh\n{does}\n")
    binary.chmod(0o755)
    texts = dict.fromkeys((*CONFIGS, MODELS_MAP), "")
    deadline_s = 0.5 if "sleep" in does else DEADLINE_S
    said = list(of_files(texts, str(binary), tmp_path / "haproxy", deadline_s))
    assert len(said) == bool(expected) and all(re.match(expected, one) for one in said)
    assert {path.name for path in (tmp_path / "haproxy").iterdir()} >= texts.keys()


def test_gpus_that_are_not_there():
    text = 'instances: [{name: g0, url: "http://127.0.0.1:1", gpus: [0, 1]}]'
    (told,) = of_gpus(loads(text).instances, [GpuReading("GPU-8f1c6f0e-0c4e", index=0)])
    assert told.startswith("g0: there is no GPU 1; GPUs that answer: 0 = GPU-8f1c6f0e-0c4e")


def test_folders(tmp_path):
    (tmp_path / "file").write_text("")
    assert list(of_folder(tmp_path / "new" / "folder", "hint")) == []
    assert list(of_folder(tmp_path / "file" / "folder", "hint")) == [
        f"{tmp_path}/file/folder: {tmp_path}/file is no folder; hint"
    ]


def test_a_folder_below_one_that_may_not_be_entered():
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        with closed(Path(place) / "closed") as folder:
            (told,) = of_folder(folder / "state" / "up", "hint")
    assert told == f"{folder}/state/up cannot be written: {folder} is not yours to write; hint"
