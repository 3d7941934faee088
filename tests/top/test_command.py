"""`pointsman top` as a process: into a pipe, in a terminal, and while the agent is away."""

import asyncio
import os
import pty
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest
from aiohttp import web

from spoe_agent.process.listening import bind
from tests.dashboard.stage import Stage

DEADLINE_S = 30.0


@pytest.fixture
def command(tmp_path):
    """Return a function that gives the command for a stage."""

    def of(stage):
        file = tmp_path / "fleet.yaml"
        instances = "instances: [{name: gpu0, url: 'http://127.0.0.1:11435'}]"
        file.write_text(f"listeners: {{admin: '{stage.listen}'}}\n{instances}\n")
        return [sys.executable, "-m", "spoe_agent", "top", "--fleet", str(file)]

    return of


@asynccontextmanager
async def started(command, **more):
    # A test runner's own workers ignore Ctrl-C, and what they start would too.
    heeds = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    child = await asyncio.create_subprocess_exec(*command, preexec_fn=heeds, **more)
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


@asynccontextmanager
async def in_a_terminal(command, term):
    """Give the process, what is on its screen, and its keys; the whole takes no longer than DEADLINE_S."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": term, "COLUMNS": "80", "LINES": "24", "PYTHONIOENCODING": "utf-8"}
    seen = bytearray()
    asyncio.get_running_loop().add_reader(ours, lambda: seen.extend(os.read(ours, 65536)))
    try:
        async with started(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as top:
            async with asyncio.timeout(DEADLINE_S):
                yield top, lambda: seen.decode(errors="replace"), partial(os.write, ours)
    finally:
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)
        os.close(theirs)


async def test_into_a_pipe_lines_are_printed_and_an_agent_that_is_back_is_followed(command):
    first, second = Stage(1), Stage(1)
    second.listen = first.listen
    async with AsyncExitStack() as stack, asyncio.timeout(DEADLINE_S):
        async with first.serving():
            top = await stack.enter_async_context(started(command(first), stdout=asyncio.subprocess.PIPE))
            lines = top.stdout
            line = (await lines.readline()).decode()
            assert line[8:] == " gpu0 up, 0.0 of 48.0 GiB: nothing loaded\n"
        assert b"the agent does not answer: " in await lines.readline()
        async with second.serving():
            assert b"the agent answers again" in await lines.readline()
        top.send_signal(signal.SIGINT)
        assert await top.wait() == 0


@pytest.mark.parametrize(("term", "is_drawn"), [("xterm", True), ("dumb", False)])
async def test_in_a_terminal_it_is_drawn_until_q(command, term, is_drawn):
    stage = Stage(2)
    async with stage.serving(), in_a_terminal(command(stage), term) as (top, screen, press):
        while "gpu1" not in screen():
            await asyncio.sleep(0.05)
        assert ("\x1b[?1049h" in screen()) is is_drawn
        if is_drawn:
            press(b"q")
            while top.returncode is None:
                await asyncio.sleep(0.05)
            assert (top.returncode, "\x1b[?1049l" in screen()) == (0, True)


async def test_why_there_is_no_scene_is_drawn_before_the_first(command):
    async def refuse(_):
        return web.json_response({"error": "64 watch already"}, status=503)

    async def status(_):
        return web.json_response({})

    stage, app = Stage(1), web.Application()
    app.add_routes([web.get("/dashboard/events", refuse), web.get("/status", status)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.SockSite(runner, bind(stage.listen)).start()
    try:
        async with in_a_terminal(command(stage), "xterm") as (_, screen, _):
            while "64 watch already" not in screen():
                await asyncio.sleep(0.05)
    finally:
        await runner.cleanup()


async def test_without_an_agent_it_says_so_at_once(command):
    async with started(command(Stage(1)), stderr=asyncio.subprocess.PIPE) as top:
        _, said = await top.communicate()
    assert (top.returncode, said.startswith(b"Error: no agent at ")) == (1, True)
