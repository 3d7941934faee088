"""`pointsman render`: what is printed, what is written, what stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from spoe_agent.haproxy.key_maps import KEYS_MAP, RIGHTS_MAP
from spoe_agent.haproxy.models_map import MODELS_MAP
from spoe_agent.keys.entry import Key
from spoe_agent.keys.file import change
from spoe_agent.render.command import render
from spoe_agent.written import LIST

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


@pytest.mark.parametrize(
    ("what", "files"),
    [
        ("env", ["a.env", "b.env"]),
        ("compose", ["compose.yaml", "haproxy/haproxy.cfg", "haproxy/errors/503.json"]),
        ("systemd", ["ollama-a.service", "ollama-b.service", "pointsman.service", "haproxy.service.d/pointsman.conf"]),
        ("haproxy", ["haproxy.cfg", "spoe-pointsman.conf", "errors/503.json"]),
    ],
)
def test_rendering_twice_changes_no_byte_and_edits_stay(
    fleet_file: Path, tmp_path: Path, what: str, files: list[str]
) -> None:
    def contents() -> dict[str, tuple[bytes, int]]:
        found = [path for path in sorted(out.rglob("*")) if path.is_file()]
        return {str(path.relative_to(out)): (path.read_bytes(), os.stat(path).st_mtime_ns) for path in found}

    out = tmp_path / "out"
    arguments = (what, "--fleet", fleet_file, "--out", out)
    assert "+++" in said(*arguments, "--diff") and not out.exists()
    said(*arguments)
    before = contents()
    assert {*files, LIST} <= before.keys()
    said(*arguments)
    assert contents() == before
    assert said(*arguments, "--diff") == f"{out} is as it would be written\n"
    mine = out / files[0]
    mine.write_text("mine\n")
    assert "-mine" in said(*arguments, "--diff")
    assert f"edited by hand, so nothing was written: {mine};" in said(*arguments, code=1)
    fleet_file.write_text(FLEET.replace("11436", "11439"))
    assert "edited by hand" in said(*arguments, code=1)
    assert mine.read_text() == "mine\n" and contents().keys() == before.keys()
    said(*arguments, "--force")
    fleet_file.write_text(FLEET)
    said(*arguments)  # what was not edited since is written anew
    assert {name: text for name, (text, _) in contents().items()} == {name: text for name, (text, _) in before.items()}


def test_what_the_agent_wrote_into_the_map_of_models_is_no_edit(fleet_file: Path, tmp_path: Path) -> None:
    said("haproxy", "--fleet", fleet_file, "--out", tmp_path)
    with (tmp_path / MODELS_MAP).open("a") as file:
        file.write("library/llama3:latest a+\n")
    said("haproxy", "--fleet", fleet_file, "--out", tmp_path)
    assert (tmp_path / MODELS_MAP).read_text().endswith("a+\n")
    fleet_file.write_text(FLEET.replace("name: b", "name: c"))
    said("haproxy", "--fleet", fleet_file, "--out", tmp_path)
    assert not (tmp_path / MODELS_MAP).read_text().endswith("a+\n")


def test_what_others_wrote_into_the_maps_of_keys_is_no_edit(fleet_file: Path, tmp_path: Path) -> None:
    keys, out = tmp_path / "keys.json", tmp_path / "out"
    fleet_file.write_text(f"{FLEET}keys: {{file: {keys}}}\n")
    said("haproxy", "--fleet", fleet_file, "--out", out)
    change(keys, lambda _: (Key(name="a", hash="A" * 64),))
    for name in (KEYS_MAP, RIGHTS_MAP):
        (out / name).write_text("# of another time\n")
    said("haproxy", "--fleet", fleet_file, "--out", out)
    assert "A" * 64 in (out / KEYS_MAP).read_text()


@pytest.mark.parametrize("what", ["systemd", "compose"])
def test_instances_of_other_hosts_are_left_to_those(tmp_path: Path, what: str) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET.replace("127.0.0.1:11436", "192.0.2.7:11436"))
    told = said(what, "--fleet", tmp_path / "fleet.yaml", "--out", tmp_path)
    assert "left to who starts them: b (http://192.0.2.7:11436)" in told
    (tmp_path / "fleet.yaml").unlink()
    written = "".join(path.read_text() for path in tmp_path.glob("*.*") if path.suffix in (".service", ".yaml"))
    assert "ollama-b" not in written


def test_a_unix_socket_is_nothing_for_containers(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET + "listeners: {spop: unix@/run/pointsman/spop.sock}\n")
    assert "write HOST:PORT" in said("compose", "--fleet", tmp_path / "fleet.yaml", "--out", tmp_path, code=1)


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


def units(fleet_file: Path, out: Path, *arguments: str, code: int = 0) -> str:
    return said("systemd", "--fleet", fleet_file, "--out", out, *arguments, code=code)


def test_the_next_steps_of_units_that_are_new(fleet_file: Path, tmp_path: Path) -> None:
    told = units(fleet_file, tmp_path / "out")
    steps = [line.strip() for line in told.partition("next, as root:\n")[2].splitlines()]
    assert steps == [
        f"pointsman render haproxy --fleet {fleet_file} --out /etc/pointsman/haproxy",
        f"systemd-sysusers {tmp_path}/out/pointsman.sysusers && systemctl daemon-reload",
        "systemctl enable --now ollama-a ollama-b pointsman",
        "systemctl restart haproxy",
    ]


def test_what_changed_is_to_be_restarted_and_what_is_gone_disabled(fleet_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    units(fleet_file, out)
    assert "restart" not in units(fleet_file, out)
    fleet_file.write_text(FLEET.replace("max_queue: 9", "max_queue: 8").replace("name: b", "name: c"))
    told = units(fleet_file, out)
    assert f"pointsman restart --fleet {fleet_file} a    # drains" in told
    assert f"systemctl disable --now ollama-b && rm {out}/ollama-b.service" in told
    assert "enable --now ollama-a ollama-c pointsman" in told
    assert "systemctl restart pointsman" in told  # it comes after other units
    assert "systemctl restart haproxy" not in told
    (out / "ollama-b.service").unlink()
    assert "disable" not in units(fleet_file, out)
    fleet_file.write_text(fleet_file.read_text() + "haproxy: {files: /srv/haproxy}\n")
    told = units(fleet_file, out)
    assert "--out /srv/haproxy\n" in told and "systemctl restart haproxy" in told
    assert told.index("systemd-sysusers") < told.index("chown -R pointsman /srv/haproxy\n") < told.index("enable --now")


@pytest.mark.parametrize(
    ("what", "name"),
    [("systemd", "ollama-b.service"), ("haproxy", "haproxy.cfg"), ("compose", "compose.yaml"), ("env", "b.env")],
)
def test_files_of_another_fleet_stay(fleet_file: Path, tmp_path: Path, what: str, name: str) -> None:
    out, other = tmp_path / "out", tmp_path / "other.yaml"
    said(what, "--fleet", fleet_file, "--out", out)
    other.write_text(FLEET.replace("11436", "11439"))
    before = (out / name).read_text()
    refusal = f"{out} has files of another fleet file, {fleet_file}; take another folder (--out)"
    assert refusal in said(what, "--fleet", other, "--out", out, code=1)
    assert (out / name).read_text() == before
    said(what, "--fleet", other, "--out", out, "--force")
    assert "11439" in (out / name).read_text()


def test_a_fleet_file_that_was_moved_has_its_folder(fleet_file: Path, tmp_path: Path) -> None:
    out, moved = tmp_path / "out", tmp_path / "moved.yaml"
    said("haproxy", "--fleet", fleet_file, "--out", out)
    fleet_file.rename(moved)
    assert "files written to" in said("haproxy", "--fleet", moved, "--out", out)


def test_what_the_agents_user_does_not_reach_is_told(fleet_file: Path, tmp_path: Path) -> None:
    fleet_file.chmod(0o600)
    assert f"warning: pointsman.service could not start: {fleet_file}" in units(fleet_file, tmp_path / "out")
