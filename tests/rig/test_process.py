"""Child processes: started, waited for, ended."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from spoe_agent.rig.process import PORTS, Process, RigError, accepts, free_port

SLEEP = "import time; print('up', flush=True); time.sleep(600)"


def python(folder, script, name="child"):
    return Process(name, [sys.executable, "-c", script], folder)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def said(process, text):
    async def check():
        return text in process.output.read_text()

    return check


async def test_a_child_runs_within_the_context(tmp_path):
    async with python(tmp_path, SLEEP) as child:
        await child.ready(said(child, "up"))
        pid = child.pid
        assert is_alive(pid)
    assert not is_alive(pid)


async def test_a_child_is_ended_when_the_test_fails(tmp_path):
    with pytest.raises(ZeroDivisionError):
        async with python(tmp_path, SLEEP) as child:
            raise ZeroDivisionError
    assert not is_alive(child.pid)


async def test_a_child_that_stands_still_is_ended(tmp_path):
    async with python(tmp_path, SLEEP) as child:
        await child.ready(said(child, "up"))
        child.signal(signal.SIGSTOP)

        async def stands_still():
            return Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

        await child.ready(stands_still)
    assert await child.wait() == -signal.SIGTERM


async def test_a_child_that_has_ended_is_left_alone(tmp_path):
    async with python(tmp_path, "raise SystemExit(7)") as child:
        assert await child.wait() == 7
        child.signal(signal.SIGKILL)
    assert await child.wait() == 7


async def test_a_program_that_is_missing_is_named(tmp_path):
    with pytest.raises(RigError, match=r"^cannot start child: /nonexistent/program: No such file or directory$"):
        async with Process("child", ["/nonexistent/program"], tmp_path):
            pass


async def test_a_child_that_ends_before_it_is_ready_tells_its_last_words(tmp_path):
    script = "import sys; print(*range(100), sep='\\n'); sys.exit('no room')"
    async with python(tmp_path, script) as child:
        with pytest.raises(RigError) as raised:
            await child.ready(said(child, "never"))
    first, *lines = str(raised.value).splitlines()
    assert first == "child ended with status 1:"
    assert lines == [*map(str, range(81, 100)), "no room"]


async def test_a_child_can_be_started_again(tmp_path):
    child = python(tmp_path, SLEEP)
    pids = []
    for times in (1, 2):
        await child.start()
        try:
            await child.ready(said(child, "up\n" * times))
            pids.append(child.pid)
        finally:
            await child.stop()
    assert pids[0] != pids[1]
    assert not any(map(is_alive, pids))


async def test_children_have_no_input_and_one_file_each_for_both_outputs(tmp_path):
    script = "import sys; print('out', repr(sys.stdin.read()), flush=True); print('err', file=sys.stderr)"
    async with python(tmp_path, script, "one") as one, python(tmp_path, script, "two") as two:
        assert (await one.wait(), await two.wait()) == (0, 0)
    for name in ("one", "two"):
        assert Path(tmp_path / f"{name}.log").read_text().splitlines() == ["out ''", "err"]


async def test_output_that_is_no_text_is_shown_all_the_same(tmp_path):
    async with python(tmp_path, "import sys; sys.stdout.buffer.write(bytes([0xff, 0x41]))") as child:
        await child.wait()
    assert child.tail() == "\ufffdA"


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_free_port_can_be_bound(kind):
    port = free_port(kind)
    with socket.socket(socket.AF_INET, kind) as taker:
        taker.bind(("127.0.0.1", port))


def test_no_two_processes_are_given_the_same_port():
    """Nor the same one twice, though nobody has bound it yet."""
    command = (
        "from spoe_agent.rig.process import free_port; print([free_port() for _ in range(400)], flush=True); input()"
    )
    others = [
        subprocess.Popen([sys.executable, "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        given = [port for other in others for port in json.loads(other.stdout.readline())]
    finally:
        for other in others:
            other.communicate("\n")
    assert len(given) == len(set(given)) == 800
    assert set(given) <= set(PORTS)


async def test_who_accepts():
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await accepts("127.0.0.1", port)
    assert not await accepts("127.0.0.1", free_port())


async def test_a_child_may_be_given_variables(tmp_path):
    script = "import os; print(os.environ['OF_ITS_OWN'], 'PATH' in os.environ, flush=True)"
    child = Process("child", [sys.executable, "-c", script], tmp_path, {"OF_ITS_OWN": "here"})
    async with child:
        await child.ready(said(child, "here True"))
