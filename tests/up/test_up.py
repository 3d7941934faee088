"""`pointsman up --simulate`, as its user has it: real clients, Ctrl-C, and what goes wrong."""

import asyncio
import os
import signal
import socket
from contextlib import suppress
from tempfile import TemporaryDirectory

import aiohttp
import pytest

from spoe_agent.haproxy import program
from spoe_agent.mitmproxy.program import find as find_mitmdump
from tests.serving import until
from tests.up.rig import READY, Up, all_gone, fleet_file, is_free, session, started, up

pytestmark = pytest.mark.skipif(program.find() is None, reason="HAProxy is not installed")


def with_ollama(folder, serves):
    """Make a program `ollama`; return the environment in which it is found."""
    program = folder / "bin" / "ollama"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$1" = serve ] || {{ echo version is 0.33.0; exit; }}\n{serves}\n')
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(folder)}


async def test_it_serves_clients_and_ctrl_c_leaves_nothing(tmp_path):
    async with up(tmp_path, "--simulate") as run, session() as client:
        await run.says(READY)
        assert [line.split("|")[1].strip() for line in run.lines if " is ready at " in line][-1].startswith("haproxy")
        status, where, body = await run.ask("small", client)
        assert (status, body["done"]) == (200, True) and where.split()[0] in ("g0", "g1")
        async with client.get(f"{run.url}/api/tags") as answer:
            assert {model["name"] for model in (await answer.json())["models"]} == {"small:latest", "other:latest"}
        await run.says("POST /api/chat small")
        children = run.children()
        assert len(children) >= 5  # two instances, agent, its guard, HAProxy, the reaper
        assert await run.end(signal.SIGINT) == 0
        await all_gone(children, run.ports())
    assert "up      | stopped" in run.lines


@pytest.mark.skipif(find_mitmdump() is None, reason="mitmproxy is not installed")
async def test_it_runs_behind_mitmproxy_too(tmp_path):
    async with up(tmp_path, "--simulate", "--front", "mitmproxy", instances=1) as run, session() as client:
        await run.says(READY)
        assert (await run.ask("small", client))[:2] == (200, "g0 room")
        children = run.children()
        assert await run.end() == 0
        await all_gone(children, run.ports())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
async def test_however_it_ends_nothing_is_left(tmp_path, number):
    # Not below tmp_path: a socket's path must be short (unix(7)).
    with TemporaryDirectory(prefix="up-") as folder:
        async with up(tmp_path, "--simulate", environment={"TMPDIR": folder}) as run:
            await run.says(READY)
            children = run.children()
            assert os.listdir(folder)
            assert await run.end(number) == (-9 if number == signal.SIGKILL else 0)
            await all_gone(children, run.ports())
        assert not os.listdir(folder)


async def test_a_terminal_that_takes_nothing_stops_neither_start_nor_end(tmp_path):
    """As in `pointsman up | less`: a pipe that is full, and that nobody reads."""
    document = fleet_file(tmp_path / "fleet.yaml")
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    process = await started(tmp_path, ["--simulate"], stdout=writing)
    os.close(writing)
    run = Up(process, document)
    try:
        await until(lambda: not is_free(run.ports()[0]))
        children = run.children()
        assert await run.end() == 0
        await all_gone(children, run.ports())
    finally:
        os.close(reading)


async def test_a_reaper_that_is_killed_has_a_follower(tmp_path):
    async with up(tmp_path, "--simulate") as run:
        await run.says(READY)
        first = run.child("reaper.py")
        first.kill()
        await run.says("has ended; another follows")
        await until(lambda: [one for one in run.children() if "reaper.py" in " ".join(one.cmdline()) and one != first])
        children = run.children()
        assert await run.end(signal.SIGKILL) == -9
        await all_gone(children, run.ports())


async def test_it_is_stopped_while_it_starts(tmp_path):
    async with up(tmp_path, "--simulate") as run:
        await run.says("simulated Ollama on")
        children = run.children()
        assert await run.end() == 0
        await all_gone(children, run.ports())


@pytest.mark.parametrize(("tokens", "is_hurried"), [(150, False), (1_000_000, True)])
async def test_ctrl_c_lets_requests_end_and_a_second_one_does_not(tmp_path, tokens, is_hurried):
    body = {"model": "small", "prompt": "hi", "options": {"num_predict": tokens}}
    async with up(tmp_path, "--simulate", instances=1) as run, session() as client:
        await run.says(READY)
        async with client.post(f"{run.url}/api/generate", json=body) as answer:
            await answer.content.readline()
            run.process.send_signal(signal.SIGINT)
            if is_hurried:
                await run.says("Ctrl-C again stops them")
                run.process.send_signal(signal.SIGINT)
                with pytest.raises(aiohttp.ClientPayloadError):
                    await answer.read()
            else:
                assert b'"done":true' in (await answer.read()).splitlines()[-1].replace(b" ", b"")
        assert await run.process.wait() == 0


@pytest.mark.parametrize("who", ["--listen", "serve", "haproxy.cfg"])
async def test_what_is_killed_comes_back(tmp_path, who):
    async with up(tmp_path, "--simulate", instances=1) as run, session() as client:
        await run.says(READY)
        assert (await run.ask("small", client))[0] == 200
        run.child(who).kill()
        await run.says("was killed by SIGKILL; it is started again in 1 s")
        async with asyncio.timeout(30):
            while True:
                try:
                    if (await run.ask("small", client))[0] == 200:
                        break
                except OSError:
                    pass
                await asyncio.sleep(0.1)


async def test_an_instance_that_is_killed_comes_back_with_its_models(tmp_path):
    async with up(tmp_path, "--simulate", instances=1) as run, session() as client:
        await run.says(READY)
        for model in ("small", "other"):
            assert (await run.ask(model, client))[0] == 200
        await run.says("loaded: other:latest, small:latest")
        run.child("--listen").kill()
        await run.says("loaded: nothing")
        await run.says("preloaded instance=g0", times=2)
        await run.says("loaded: other:latest, small:latest", times=2)
        assert (await run.ask("small", client))[1] == "g0 loaded"


async def test_a_fleet_that_is_started_again_loads_what_it_had(tmp_path):
    async with up(tmp_path, "--simulate", instances=1) as run, session() as client:
        await run.says(READY)
        assert (await run.ask("small", client))[0] == 200
        await run.says("loaded: small:latest")
        await run.end()
    async with up(tmp_path, "--simulate", again=True) as run, session() as client:
        await run.says(READY)
        assert (await run.ask("small", client))[1] == "g0 loaded"
        told = ("loads first: small:latest on g0", "preloaded instance=g0 model=small:latest", "haproxy is ready")
        where = [run.lines.index(await run.says(text)) for text in told]
        assert where == sorted(where)


async def test_an_agent_that_another_follows_is_not_started_again(tmp_path):
    async with up(tmp_path, "--simulate", instances=1) as run:
        await run.says(READY)
        run.child("serve").send_signal(signal.SIGUSR2)
        await run.says("a new agent has taken over")
        children = run.children()
        await run.says("took over")
        assert await run.end() == 0
        await all_gone(children, run.ports())
    assert not any("started again" in line for line in run.lines)


async def test_an_instance_that_does_not_start_is_said_and_nothing_is_left(tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ollama").write_text(
        '#!/bin/sh\n[ "$1" = serve ] || { echo version is 0.33.0; exit; }\necho broken; exit 3\n'
    )
    (folder / "ollama").chmod(0o755)
    places = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    async with up(tmp_path, environment=places) as run:
        assert await run.process.wait() == 1
    assert any("g0 " in line and line.endswith("| broken") for line in run.lines)
    assert any("g0 ended with status 3 before it was ready" in line for line in run.lines)


async def test_everything_that_is_in_the_way_is_said_before_anything_starts(tmp_path):
    """No Ollama, no HAProxy, a port that is taken, a GPU that is not there, stores that cannot be written."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        no_folder = tmp_path / "fleet.yaml"
        instances = [
            {"name": "g0", "url": f"http://127.0.0.1:{port}", "ollama": {"models": str(no_folder / "models")}},
            {"name": "g1", "url": "http://127.0.0.1:1", "gpus": ["GPU-none-of-ours"]},
        ]
        places = {"PATH": str(tmp_path), "HAPROXY": "/nonexistent", "HOME": str(tmp_path)}
        async with up(tmp_path, environment=places, instances_are=instances) as run:
            assert await run.process.wait() == 1
    told = "\n".join(run.lines)
    for part in (
        "nothing was started",
        "HAProxy is not on the path",
        "ollama is not on the path",
        f"g0: 127.0.0.1:{port} is taken by process",
        "g1: there is no GPU GPU-none-of-ours",
        f"{no_folder} is no folder; ollama.models names another place",
    ):
        assert part in told


async def test_a_real_program_gets_exactly_its_environment(tmp_path):
    """`ollama` of PATH is run with the fleet file's environment: seen in /proc."""
    places = with_ollama(tmp_path, "exec sleep 60") | {"OLLAMA_MODELS": "/else", "OLLAMA_HOST": "front:1"}
    instances = [{"name": "g0", "url": "http://127.0.0.1:1", "vram": 0, "env": {"OLLAMA_DEBUG": "1"}}]
    async with up(tmp_path, environment=places, instances_are=instances) as run:
        async with asyncio.timeout(20):
            while not [one for one in run.children() if one.name() == "sleep"]:
                await asyncio.sleep(0.05)
        (child,) = [one for one in run.children() if one.name() == "sleep"]
        found = child.environ()
        assert "Ollamas do not get OLLAMA_MODELS:" in await run.says("of this terminal")
        await run.end()
    expected = {"OLLAMA_HOST": "127.0.0.1:1", "CUDA_VISIBLE_DEVICES": "-1", "OLLAMA_DEBUG": "1", "OLLAMA_VULKAN": "0"}
    assert expected.items() <= found.items() and "OLLAMA_MODELS" not in found
