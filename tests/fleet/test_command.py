from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from spoe_agent.fleet import json_schema
from spoe_agent.fleet.command import check, schema

from .lines import INSTANCE


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("good.yaml").write_text(f"instances: [{INSTANCE}]\nmodels: [{{match: a}}, {{match: b}}]\n")
    Path("bad.yaml").write_text(f"instances: [{INSTANCE}]\nx: 1\ny: 2\n")
    return tmp_path


def test_a_good_file(folder: Path) -> None:
    result = CliRunner().invoke(check, ["good.yaml"])
    assert (result.exit_code, result.stdout, result.stderr) == (0, "good.yaml: ok, 1 instance, 2 model rules\n", "")


def test_several_files_are_all_checked(folder: Path) -> None:
    result = CliRunner().invoke(check, ["bad.yaml", "good.yaml", "--fleet", "none.yaml"])
    known = (
        "unknown key; known here: listeners, haproxy, gpus, defaults, instances, models, callers, telemetry, policies"
    )
    assert result.exit_code == 1
    assert result.stdout == "good.yaml: ok, 1 instance, 2 model rules\n"
    assert result.stderr.splitlines() == [
        f"bad.yaml:2: x: {known}",
        f"bad.yaml:3: y: {known}",
        "none.yaml: cannot be read: No such file or directory; check the path and its permissions",
    ]


def test_without_a_name_it_is_fleet_yaml_here(folder: Path) -> None:
    Path("good.yaml").rename("fleet.yaml")
    result = CliRunner().invoke(check, [])
    assert (result.exit_code, result.stdout) == (0, "fleet.yaml: ok, 1 instance, 2 model rules\n")


def test_the_schema_is_printed_as_json() -> None:
    result = CliRunner().invoke(schema, [])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json_schema()
