"""Process groups: all of one goes together, also when whoever started it is gone."""

import asyncio
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from spoe_agent.up import reaper
from spoe_agent.up.group import ProcessGroup, Reaper
from spoe_agent.up.output import Output
from tests.serving import DEADLINE_S, until
from tests.up.rig import all_gone

STUBBORN = "trap '' TERM; sleep 60 & echo $! ; wait; wait"
"""It does not end at SIGTERM, and has a child."""


async def started(script, tasks, reaped_by, out):
    group = await ProcessGroup.start("it", ["sh", "-c", script], os.environ, Output(["it"], out), reaped_by, tasks)
    await until(lambda: b"\n" in out.getvalue())
    return group, psutil.Process(int(out.getvalue().split(b"| ")[1]))


@pytest.mark.parametrize(("script", "grace_s"), [(STUBBORN, 0.1), ("sleep 60 & echo $!; wait", 10.0)])
async def test_all_of_it_is_ended(script, grace_s):
    reaped_by = await Reaper.start()
    async with asyncio.TaskGroup() as tasks:
        group, child = await started(script, tasks, reaped_by, io.BytesIO())
        await group.end(grace_s, asyncio.Event())
    await all_gone([child], [])
    await reaped_by.close()


async def test_it_is_ended_at_once_when_that_is_said_late():
    reaped_by, hurry = await Reaper.start(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        group, child = await started(STUBBORN, tasks, reaped_by, io.BytesIO())
        ending = tasks.create_task(group.end(10 * DEADLINE_S, hurry))
        asyncio.get_running_loop().call_later(0.2, hurry.set)
        async with asyncio.timeout(DEADLINE_S):
            await ending
    await all_gone([child], [])
    await reaped_by.close()


async def test_how_it_ended_is_said():
    reaped_by = await Reaper.start()
    async with asyncio.TaskGroup() as tasks:
        for script, how in (("exit 3", "ended with status 3"), ("kill -9 $$", "was killed by SIGKILL")):
            group = await ProcessGroup.start(
                "it", ["sh", "-c", script], os.environ, Output(["it"], io.BytesIO()), reaped_by, tasks
            )
            assert await group.ended() == how
            await group.end(1.0, asyncio.Event())
    await reaped_by.close()


async def test_its_end_is_seen_though_what_it_left_behind_has_its_output():
    reaped_by = await Reaper.start()
    async with asyncio.TaskGroup() as tasks:
        group, child = await started("sleep 60 & echo $!; exit 3", tasks, reaped_by, io.BytesIO())
        async with asyncio.timeout(DEADLINE_S):
            assert await group.ended() == "ended with status 3"
        assert child.is_running()
        await group.end(10.0, asyncio.Event())
    await all_gone([child], [])
    await reaped_by.close()


async def test_a_stranger_takes_nobodys_place():
    reaped_by = await Reaper.start()
    async with asyncio.TaskGroup() as tasks:
        group, _ = await started("sleep 60 & echo $!; wait", tasks, reaped_by, io.BytesIO())
        first = group.pid
        group.followed_by(os.getpid())
        assert group.pid == first
        await group.end(10.0, asyncio.Event())
    await reaped_by.close()


async def test_the_reaper_ends_what_is_left():
    script = [sys.executable, "-I", "-S", str(Path(reaper.__file__))]
    process = subprocess.Popen(["sh", "-c", "sleep 60 & sleep 60"], start_new_session=True)
    other = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        keeping = subprocess.Popen(script, stdin=subprocess.PIPE, text=True)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            await until(lambda number=number: is_ignored(keeping.pid, number))
            keeping.send_signal(number)
        await asyncio.to_thread(keeping.communicate, f"+{process.pid}\n+{other.pid}\n-{other.pid}\n", 30)
        assert process.wait(timeout=10) == -signal.SIGTERM and other.poll() is None
    finally:
        other.kill()
        other.wait()


def is_ignored(pid, number):
    (mask,) = [line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "SigIgn" in line]
    return int(mask, 16) >> (number - 1) & 1 == 1
