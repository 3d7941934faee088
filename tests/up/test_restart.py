"""`pointsman restart NAME...` under load, through real HAProxy: instances that `up` runs, one after the other."""

import asyncio
import sys
from collections import Counter

import pytest

from spoe_agent.haproxy import program
from tests.up.rig import READY, session, up

pytestmark = pytest.mark.skipif(program.find() is None, reason="HAProxy is not installed")

MODELS = ("small", "other")


async def pointsman(*arguments):
    """Run a command; return its status and what it said."""
    command = [sys.executable, "-m", "spoe_agent", *arguments]
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    said, _ = await child.communicate()
    return child.returncode, said.decode()


async def test_one_after_the_other_and_no_request_is_lost(tmp_path):
    statuses, stop = Counter(), asyncio.Event()

    async def work(model, client, run):
        while not stop.is_set():
            statuses[(await run.ask(model, client))[0]] += 1

    async with up(tmp_path, "--simulate", defaults={"num_parallel": 4}) as run, session() as client:
        await run.says(READY)
        before = {name: run.child(f":{port}") for name, port in zip(("g0", "g1"), run.ports()[-2:], strict=True)}
        async with asyncio.TaskGroup() as tasks:
            for number in range(4):
                tasks.create_task(work(MODELS[number % 2], client, run))
            await run.says("loaded: small")
            code, said = await pointsman("restart", "--fleet", str(tmp_path / "fleet.yaml"), "g0", "g1")
            stop.set()
        assert code == 0, said
        assert said == "g0 was started anew and serves again\ng1 was started anew and serves again\n"
        assert not any(process.is_running() for process in before.values())
        assert statuses.keys() == {200} and statuses.total() > 20
        assert sum("preloaded instance=" in line for line in run.lines) >= 1


async def test_who_is_not_in_the_fleet_is_named_and_nothing_is_done(tmp_path):
    (tmp_path / "fleet.yaml").write_text('instances: [{name: g0, url: "http://127.0.0.1:1"}]')
    code, said = await pointsman("restart", "--fleet", str(tmp_path / "fleet.yaml"), "g0", "g7")
    assert (code, said) == (1, "Error: there is no instance g7; instances are g0\n")
