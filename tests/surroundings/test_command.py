"""`pointsman check` as people run it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spoe_agent.rig.process import free_port, free_ports
from spoe_agent.surroundings.command import check

INSTANCE = '{name: gpu0, url: "http://127.0.0.1:11435"}'
# Whoever runs the tests may have GPUs.
GOOD = f"instances: [{INSTANCE}]\nmodels: [{{match: a}}, {{match: b}}]\ntelemetry: {{local: false}}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("good.yaml").write_text(GOOD)
    Path("bad.yaml").write_text(f"instances: [{INSTANCE}]\nx: 1\ny: 2\n")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(check, arguments)


def test_a_good_file(folder: Path) -> None:
    result = run("good.yaml")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "good.yaml: ok, 1 instance, 2 model rules\n", "")


def test_several_files_are_all_checked(folder: Path) -> None:
    result = run("bad.yaml", "good.yaml", "--fleet", "none.yaml")
    assert result.exit_code == 1
    assert result.stdout == "good.yaml: ok, 1 instance, 2 model rules\n"
    first, second, third = result.stderr.splitlines()
    assert first.startswith("bad.yaml:2: x: unknown key; known here: listeners, ")
    assert second.startswith("bad.yaml:3: y: unknown key; known here: listeners, ")
    assert third == "none.yaml: cannot be read: No such file or directory; check the path and its permissions"


def test_without_a_name_it_is_fleet_yaml_here(folder: Path) -> None:
    Path("good.yaml").rename("fleet.yaml")
    result = run()
    assert (result.exit_code, result.stdout) == (0, "fleet.yaml: ok, 1 instance, 2 model rules\n")


def test_what_is_doubtful_is_a_warning_with_its_place(folder: Path) -> None:
    Path("far.yaml").write_text(
        'instances:\n- {name: a, url: "http://no-such-host.invalid:1"}\n'
        '- {name: b, url: "http://10.0.0.1:1", gpus: [0]}\n'
    )
    result = run("far.yaml")
    assert (result.exit_code, result.stdout) == (0, "far.yaml: ok, 2 instances, 0 model rules\n")
    first, second = result.stderr.splitlines()
    assert first.startswith("far.yaml:2: instances[0].url: warning: no-such-host.invalid is not known here: ")
    assert second.startswith("far.yaml: warning: nobody reads GPU 0 of b on 10.0.0.1: ")


def test_live_every_one_who_is_not_there_is_named(folder: Path) -> None:
    first, dead = free_ports(7), free_port()
    keys = ("front", "again", "spop", "log", "check", "admin", "door")
    listeners = ", ".join(f'{key}: "127.0.0.1:{first + number}"' for number, key in enumerate(keys))
    instance = f'{{name: gpu0, url: "http://127.0.0.1:{dead}"}}'
    Path("dead.yaml").write_text(f"listeners: {{{listeners}}}\ninstances: [{instance}]\ntelemetry: {{local: false}}\n")
    result = run("--live", "dead.yaml")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert [line for line in lines if line.startswith("wrong")] == [
        f"wrong gpu0: http://127.0.0.1:{dead}: connection refused"
    ]
    assert sum(line.startswith("note  listeners.") for line in lines) == 7
    assert "ok    HAProxy takes the rendered files" in lines
