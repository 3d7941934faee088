"""`pointsman doctor` as people run it, and what it looks at."""

import asyncio
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from spoe_agent.fleet import loads
from spoe_agent.rig.process import free_port, free_ports
from spoe_agent.simulator.server import SimulatedOllama
from spoe_agent.surroundings.doctor_command import doctor
from spoe_agent.surroundings.seen import Senses, see
from spoe_agent.surroundings.table import Depth, checks, examine
from tests.init.machines import process

PORTS = ("front", "again", "check", "admin", "door", "log", "spop")


def text(url):
    first = free_ports(len(PORTS))
    ports = ", ".join(f"{key}: '127.0.0.1:{first + place}'" for place, key in enumerate(PORTS))
    instance = f"{{name: g0, url: '{url}', num_parallel: 4}}"
    return f"listeners: {{{ports}}}\ninstances: [{instance}]\ntelemetry: {{local: false}}\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(doctor, arguments)


def test_what_is_wrong_is_told_with_what_to_do(run):
    url = f"http://127.0.0.1:{free_port()}"
    Path("fleet.yaml").write_text(text(url))
    result = run()
    assert result.exit_code == 1
    assert f"wrong g0: {url}: connection refused\n      start it, or correct its url\n" in result.output
    assert "ok    " not in result.output
    assert result.output.splitlines()[-1].startswith("fleet.yaml: 1 wrong, ")


async def test_what_is_well_is_told_when_asked(run):
    ollama = SimulatedOllama()
    Path("fleet.yaml").write_text(text(f"http://127.0.0.1:{await ollama.start()}"))
    try:
        result = await asyncio.to_thread(run, "--all")
    finally:
        await ollama.stop()
    assert result.exit_code == 0, result.output
    assert "ok    g0: Ollama 0.33.0 answers" in result.output


def test_without_a_fleet_file(run):
    result = run()
    assert result.exit_code == 1
    assert "fleet.yaml" in result.output


async def test_a_process_and_a_clock_are_looked_at():
    ollama = SimulatedOllama()
    port = await ollama.start()
    fleet = loads(text(f"http://127.0.0.1:{port}"))
    with process(OLLAMA_NUM_PARALLEL="2") as found:
        senses = Senses(processes=lambda: [("127.0.0.1", port, found)], wall=lambda: time.time() + 100)
        try:
            remarks = [str(one) for one in await examine(fleet, [Depth.DOCTOR], senses)]
            seen = await see(fleet, senses, asks=True)
        finally:
            await ollama.stop()
    assert any("started with num_parallel 2, the file says 4" in one for one in remarks)
    assert any("s behind this host's" in one for one in remarks)
    assert seen.ollamas[0].open_files


@pytest.mark.parametrize(("user", "told"), [(0, "no Ollama process of this host is seen"), (1000, "run this as root")])
async def test_an_ollama_without_a_process_here(user, told):
    ollama = SimulatedOllama()
    fleet = loads(text(f"http://127.0.0.1:{await ollama.start()}"))
    try:
        remarks = await examine(fleet, [Depth.DOCTOR], Senses(processes=list, user=lambda: user))
    finally:
        await ollama.stop()
    assert any(told in f"{one.text}; {one.hint}" for one in remarks)


def test_every_rule_is_in_the_table_once():
    rows = [check.look.__qualname__ for check in checks(Senses())]
    assert len(rows) == len(set(rows))
    assert {check.depth for check in checks(Senses())} == set(Depth)
