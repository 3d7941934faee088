"""`pointsman init` as people run it."""

import asyncio
import re
import sys
import tempfile
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from spoe_agent.fleet import load
from spoe_agent.init.command import init, write
from spoe_agent.render.command import render
from spoe_agent.surroundings.command import check
from tests.init.machines import amd, ollama, process, senses
from tests.nobody import closed


def test_it_writes_a_file_and_says_what_was_found(tmp_path, capsys):
    write(tmp_path / "fleet.yaml", False, senses())
    fleet = load(tmp_path / "fleet.yaml")
    assert [one.name for one in fleet.instances] == ["cpu"]
    said = capsys.readouterr().out
    for words in (
        "ollama is not on the path",
        "There is no GPU: the one instance runs on the CPU",
        "fleet.yaml written",
    ):
        assert words in said


async def test_a_machine_with_gpus_and_an_ollama(tmp_path, capsys):
    with process(OLLAMA_NUM_PARALLEL="3") as found:
        async with ollama("llama3") as port:
            known = senses(amd(tmp_path / "sys"), processes=lambda: [("127.0.0.1", port, found)])
            await asyncio.to_thread(write, tmp_path / "f.yaml", False, known)
    (one,) = load(tmp_path / "f.yaml").instances
    assert (one.port, one.num_parallel, len(one.gpus)) == (port, 3, 2)
    assert f"Ollama 0.33.0 runs at 127.0.0.1:{port}, with 1 model." in capsys.readouterr().out


def test_a_file_that_is_there_stays_unless_forced(tmp_path):
    file = tmp_path / "fleet.yaml"
    file.write_text("mine")
    with pytest.raises(click.ClickException, match="is there already; --force overwrites it"):
        write(file, False, senses())
    assert file.read_text() == "mine"
    write(file, True, senses())
    assert "cpu" in file.read_text()


@pytest.mark.parametrize("name", ["none/fleet.yaml", "n" * 300])
def test_where_it_cannot_write(tmp_path, name):
    with pytest.raises(click.ClickException, match="cannot write"):
        write(tmp_path / name, False, senses())


def printed(said, program):
    """The arguments of each command that was printed."""
    return re.findall(rf"pointsman {program}((?: [\w./'-]+)*)", said)


@pytest.mark.parametrize(
    ("ollama", "haproxy", "now", "simulates"),
    [
        (True, True, "Now: ", False),
        (True, False, "Now install HAProxy, then: ", False),
        (False, True, "Now install Ollama, then: ", True),
        (False, False, "Now install Ollama and HAProxy, then: ", False),
    ],
)
def test_where_no_ollama_runs_the_next_step_starts_some(tmp_path, capsys, ollama, haproxy, now, simulates):
    there = {True: lambda: sys.executable, False: lambda: None}
    file = tmp_path / "my fleet.yaml"
    write(file, False, senses(ollama=there[ollama], haproxy=there[haproxy]))
    said = capsys.readouterr().out
    assert f"\n{now}pointsman up --fleet '{file}'\n" in said
    assert (f"pointsman up --simulate --fleet '{file}'\n" in said) == simulates
    assert "--live" not in said


async def test_where_ollamas_run_the_next_step_goes_on_with_them(tmp_path, capsys):
    with process() as found:
        async with ollama("llama3") as port:
            known = senses(processes=lambda: [("127.0.0.1", port, found)])
            await asyncio.to_thread(write, tmp_path / "f.yaml", False, known)
            said = capsys.readouterr().out
            (arguments,) = printed(said, "check")
            result = await asyncio.to_thread(CliRunner().invoke, check, arguments.split())
    assert f"ok    ollama0: Ollama 0.33.0 answers at http://127.0.0.1:{port}" in result.output
    before, instead = said.split("Or stop those Ollamas")
    assert "pointsman up" not in before
    assert f"pointsman init --force {tmp_path}/f.yaml && pointsman up --fleet {tmp_path}/f.yaml" in instead
    (arguments,) = printed(before, "render")
    rendered = CliRunner().invoke(render, [*arguments.split()[:-1], str(tmp_path / "haproxy")])
    assert rendered.exit_code == 0 and (tmp_path / "haproxy" / "haproxy.cfg").exists()


def test_where_it_may_not_look():
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        with (
            closed(Path(place) / "closed") as folder,
            pytest.raises(click.ClickException, match=r"cannot write .*denied"),
        ):
            write(folder / "fleet.yaml", False, senses())


def test_on_this_machine_whatever_it_has(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(init, [])
    assert (result.exit_code, Path("fleet.yaml").exists()) == (0, True), result.output
    load(Path("fleet.yaml"))
    assert CliRunner().invoke(init, []).exit_code == 1
