"""Programs that end and are started again, with real ones; the reaper is one that repeats what it is told."""

import asyncio
import io
import signal
import sys
from contextlib import asynccontextmanager

import psutil

from spoe_agent.fleet import Listen
from spoe_agent.rig.process import free_port
from spoe_agent.up.group import Reaper
from spoe_agent.up.members import Member
from spoe_agent.up.notified import Notified
from spoe_agent.up.output import Output
from spoe_agent.up.run import Running
from tests.serving import until

SERVER = """
import os, socket, subprocess, sys, time
port, leaves = int(sys.argv[1]), sys.argv[2:]
if leaves:
    print("left", subprocess.Popen(["sleep", "60"]).pid, flush=True)
sock = socket.create_server(("127.0.0.1", port))
print("pid", os.getpid(), flush=True)
time.sleep(60)
"""


def server(port, *leaves, **more):
    return Member("it", (sys.executable, "-c", SERVER, str(port), *leaves), Listen("127.0.0.1", port), **more)


@asynccontextmanager
async def running(member):
    """It runs; yields what is printed, and what the reaper is told."""
    out, pipe, told = io.BytesIO(), asyncio.subprocess.PIPE, []
    reaper = await asyncio.create_subprocess_exec("cat", stdin=pipe, stdout=pipe, start_new_session=True)
    reaped_by = Reaper(reaper, None)

    async def listen():
        async for line in reaper.stdout:
            told.append(line.decode().strip())

    with Output(["it"], out) as output, Notified.open() as notified:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(listen())
            run = Running(output, reaped_by, notified, tasks, asyncio.Event())
            await run.start([member])
            yield lambda: out.getvalue().decode().splitlines(), told
            await run.stop([member])
            await reaped_by.close()


def numbers(lines, word):
    return [int(line.split()[-1]) for line in lines if f"| {word} " in line]


async def test_what_comes_back_is_said_to_be_ready():
    async with running(server(free_port())) as (shown, _):
        await until(lambda: numbers(shown(), "pid"))
        psutil.Process(numbers(shown(), "pid")[0]).kill()
        await until(lambda: sum("it is ready at" in line for line in shown()) == 2)
    said = [line.partition("| ")[2].split(" at ")[0] for line in shown() if "| it " in line]
    assert said == ["it is ready", "it was killed by SIGKILL; it is started again in 1 s", "it is ready"]


async def test_a_group_is_the_reapers_no_more_once_it_is_empty():
    async with running(server(free_port(), "leaves", sweeps=False)) as (shown, told):
        await until(lambda: numbers(shown(), "pid"))
        (first,), (left,) = numbers(shown(), "pid"), numbers(shown(), "left")
        psutil.Process(first).kill()
        await until(lambda: len(numbers(shown(), "pid")) == 2)
        second = numbers(shown(), "pid")[1]
        assert told == [f"+{first}", f"+{second}"], "what it has left behind runs"
        psutil.Process(left).send_signal(signal.SIGTERM)
        await until(lambda: f"-{first}" in told)
        assert f"-{second}" not in told
