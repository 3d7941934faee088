"""`pointsman render`: what is printed and written, and what real programs make of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from spoe_agent.fleet import load
from spoe_agent.instances.environment import environment
from spoe_agent.render_command import render

FLEET = r"""
instances:
  - {name: a, url: "http://127.0.0.1:11435", gpus: [0], ollama: {models: '/srv/it''s "$HOME" \`ours\` ', max_queue: 9}}
  - {name: b, url: "http://127.0.0.1:11436", ollama: {origins: ["https://*.example.com", "app://a;b#c"]}}
"""


@pytest.fixture
def fleet_file(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    return path


def said(*arguments: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(render, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_a_process_that_is_started_with_it_has_exactly_that(fleet_file: Path, tmp_path: Path) -> None:
    said("env", "--fleet", fleet_file, "--out", tmp_path / "env")
    for instance in load(fleet_file).instances:
        script = 'set -a; . "$1"; exec env -0'
        command = ["env", "-i", "sh", "-c", script, "sh", str(tmp_path / "env" / f"{instance.name}.env")]
        lines = subprocess.run(command, capture_output=True, check=True, timeout=30).stdout.decode().split("\0")
        found = dict(line.split("=", 1) for line in lines if line)
        own = {"PWD", "SHLVL", "_", "OLDPWD"}  # the shell's
        assert {name: value for name, value in found.items() if name not in own} == environment(instance)


def test_rendering_twice_changes_no_byte(fleet_file: Path, tmp_path: Path) -> None:
    said("env", "--fleet", fleet_file, "--out", tmp_path)
    before = {path: (path.read_bytes(), os.stat(path).st_mtime_ns) for path in tmp_path.glob("*.env")}
    assert [path.name for path in sorted(before)] == ["a.env", "b.env"]
    said("env", "--fleet", fleet_file, "--out", tmp_path)
    assert before == {path: (path.read_bytes(), os.stat(path).st_mtime_ns) for path in tmp_path.glob("*.env")}


def test_one_alone_is_printed(fleet_file: Path) -> None:
    both, one = said("env", "--fleet", fleet_file), said("env", "--fleet", fleet_file, "b")
    assert one.startswith("# Ollama b. ") and one in both
    assert "OLLAMA_HOST=127.0.0.1:11436\n" in one and "11435" not in one


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        (FLEET, ["c"], "there is no instance c; there are a, b"),
        ('instances: [{name: a, url: "http://h:1", gpus: ["3b:00.0"]}]', [], "write its UUID"),
        ("instances: []", [], "instances"),
        (FLEET, ["--out", "/proc/none"], "cannot write: "),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, text: str, arguments: list[str], expected: str) -> None:
    (tmp_path / "fleet.yaml").write_text(text)
    assert expected in said("env", "--fleet", tmp_path / "fleet.yaml", *arguments, code=1)


def test_haproxys_files_are_written(fleet_file: Path, tmp_path: Path) -> None:
    assert "13 files written" in said("haproxy", "--fleet", fleet_file, "--out", tmp_path / "haproxy")
    assert (tmp_path / "haproxy" / "haproxy.cfg").exists()
