"""`pointsman plan` as people run it."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from spoe_agent.fleet import load
from spoe_agent.plan.command import plan
from spoe_agent.rig.process import free_port

WANTED = """\
gpus: [{id: 0, memory: 24GiB}, {id: 1, memory: 24GiB}]
models:
  - {model: llama3.1:8b, size: 4.9GB, shape: {cache_per_token: 128KiB}}
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("wanted.yaml").write_text(WANTED)
    Path("one.yaml").write_text(f"instances: [{{name: a, url: 'http://127.0.0.1:{free_port()}'}}]\n")
    return lambda *arguments: CliRunner().invoke(plan, arguments)


def test_a_described_machine_without_a_fleet_file(run):
    result = run("wanted.yaml")
    assert result.exit_code == 0, result.output
    assert "gpu0 on GPU 0" in result.output
    assert "Everything fits at the same time." in result.output
    assert "written" not in result.output


def test_it_is_written_only_when_asked(run):
    before = Path("one.yaml").read_text()
    assert "Nothing is written; --write puts it into one.yaml." in run("wanted.yaml", "--fleet", "one.yaml").output
    assert Path("one.yaml").read_text() == before
    result = run("wanted.yaml", "--fleet", "one.yaml", "--write")
    assert result.exit_code == 0, result.output
    assert "No longer in it, stop their Ollamas: a" in result.output
    assert [one.gpus for one in load(Path("one.yaml")).instances] == [(0,), (1,)]


def test_where_old_instances_differ_the_file_stays(run):
    before = "instances:\n" + "".join(
        f"  - {{name: {name}, url: 'http://127.0.0.1:{free_port()}', ollama: {{models: /{name}}}}}\n" for name in "ab"
    )
    Path("two.yaml").write_text(before)
    result = run("wanted.yaml", "--fleet", "two.yaml", "--write")
    assert result.exit_code == 1
    assert "nothing is written: a, b are to go, and say different things of ollama.models" in result.output
    assert Path("two.yaml").read_text() == before


def test_a_file_that_others_must_not_read_stays_so_and_a_link_a_link(run):
    Path("one.yaml").chmod(0o600)
    Path("link.yaml").symlink_to("one.yaml")
    assert run("wanted.yaml", "--fleet", "link.yaml", "--write").exit_code == 0
    assert (Path("one.yaml").stat().st_mode & 0o777, Path("link.yaml").is_symlink()) == (0o600, True)
    assert len(load(Path("one.yaml")).instances) == 2


def test_what_fits_nowhere_fails(run):
    Path("wanted.yaml").write_text(WANTED + "  - {model: big, size: 240GB}\n")
    result = run("wanted.yaml")
    assert result.exit_code == 1
    assert "big:latest: needs " in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.yaml"], "none.yaml: cannot be read"),
        (["wanted.yaml", "--fleet", "none.yaml"], "none.yaml: cannot be read"),
        (["wanted.yaml", "--write"], "fleet.yaml"),
        (["--fleet", "gpus.yaml"], "no model to plan for: no Ollama answers"),
        (["wanted.yaml", "--fleet", "far.yaml", "--write"], "a are on other hosts: a plan is for the GPUs of one"),
    ],
)
def test_what_it_cannot_do(run, arguments, said):
    Path("far.yaml").write_text("instances: [{name: a, url: 'http://no-such-host.invalid:1'}]\n")
    Path("gpus.yaml").write_text("gpus: [{id: 0, memory: 24GiB}]\n" + Path("one.yaml").read_text())
    result = run(*arguments)
    assert result.exit_code == 1
    assert said in result.output


def test_without_its_extra_it_says_what_to_install(run, monkeypatch):
    for module in [name for name in sys.modules if name.startswith(("scipy", "spoe_agent.plan.p"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    result = run("wanted.yaml")
    assert result.exit_code == 1
    assert "pip install '.[plan]'" in result.output
