"""The command: a table, JSON, a picture, and what it says when it cannot."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from spoe_agent.replay.command import replay
from tests.replay.rig import FLEET, fleet, record

INSTANCE = '  - {name: g0, url: "http://127.0.0.1:20000"}'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replay")
    (folder / "d.jsonl").write_text("\n".join(record(fleet(1), count=60)) + "\n")
    (folder / "fleet.yaml").write_text(FLEET.format(instances=INSTANCE, more=""))
    (folder / "bad.yaml").write_text("instances: []")
    return folder


def run(folder: Path, *arguments: str, fleet_file: str = "fleet.yaml", log: str = "d.jsonl") -> tuple[int, str]:
    done = CliRunner().invoke(replay, [str(folder / log), "--fleet", str(folder / fleet_file), *arguments])
    return done.exit_code, done.output


def test_it_prints_and_draws(folder: Path) -> None:
    picture = folder / "p.svg"
    code, said = run(folder, "--plot", str(picture))
    assert code == 0, said
    lines = said.splitlines()
    assert [line.split()[0] for line in lines[1::2]] == ["a:latest", "b:latest", "c:latest", "d:latest", "all"]
    root = ElementTree.fromstring(picture.read_text())
    assert len(root.findall(".//{*}polyline")) == 6
    code, said = run(folder, "--json", "--weight", "load=0", "--weight", "share=2.5")
    assert (code, json.loads(said)["all"]["was"]["requests"]) == (0, 60)


@pytest.mark.parametrize(
    ("options", "arguments", "why"),
    [
        ({"log": "none.jsonl"}, [], "there is no such file"),
        ({"log": "fleet.yaml"}, [], "no line `known`"),
        ({"fleet_file": "bad.yaml"}, [], "instances: must have at least one entry"),
        ({}, ["--weight", "loads=1"], "is not a weight such as load=1.5; there are load, evict"),
        ({}, ["--weight", "load=-1"], "is not a weight"),
        ({}, ["--plot", "/nowhere/p.svg"], "/nowhere/p.svg cannot be written: No such file or directory"),
    ],
)
def test_it_says_why_it_cannot(folder: Path, options: dict[str, str], arguments: list[str], why: str) -> None:
    code, said = run(folder, *arguments, **options)
    assert code != 0
    assert why in said
