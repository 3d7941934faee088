"""`pointsman status`, `drain` and `ready` without an agent, and with one that refuses."""

import asyncio
import socket
import threading
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from click.testing import CliRunner

from spoe_agent.admin.command import console, drain, ready, reload, status
from spoe_agent.admin.restart_command import restart
from spoe_agent.rig.process import free_port

FOUND = {
    "version": "1",
    "up_s": 1.0,
    "grants": 0,
    "warnings": [],
    "haproxy": {"warning": "", "asked_age_s": 1.0, "fell_back": 0, "processes": []},
    "instances": [
        {
            "name": "g0",
            "health": "suspect",
            "since_s": 1.0,
            "evidence": "mod\u00e8le gave no token",
            "note": "",
            "signs": [{"grade": "bad", "what": "mod\u00e8le gave no token"}],
            "loaded": [],
            "loading": [],
            "leaving": [],
            "reserved": None,
            "in_flight": {},
            "connections": {"limit": 1, "configured": 1},
            "gpus": None,
        }
    ],
    "hold": {"length": 0, "oldest_s": 0, "requests": []},
}


@pytest.fixture
def fleet(tmp_path):
    """A fleet file, and the port of its agent."""
    port = free_port()
    document = {
        "listeners": {"admin": f"127.0.0.1:{port}"},
        "instances": [{"name": "g0", "url": "http://127.0.0.1:11435"}],
    }
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump(document))
    return str(file), port


@pytest.fixture
def agent(fleet):
    """Somebody who answers as an agent with one instance would, in a loop of its own."""
    started, loop = threading.Event(), asyncio.new_event_loop()

    async def answer(request):
        if request.method == "GET":
            return web.json_response(FOUND)
        if request.path == "/restart":
            return web.json_response({"pid": 4711})
        if request.path == "/reload":
            return web.json_response({"changed": ["models", "callers"], "needs_restart": ["listeners.log"]})
        if request.match_info["name"] != "g0":
            return web.json_response({"error": "there is no instance"}, status=404)
        is_drain = request.path.endswith("drain")
        said = [] if is_drain else ["Until the agent restarts: it has no state file", "HAProxy does not know yet"]
        return web.json_response({"health": "drained" if is_drain else "up", "said": said})

    async def start():
        app = web.Application()
        app.add_routes(
            [
                web.get("/status", answer),
                web.post("/instances/{name}/{what}", answer),
                web.post("/reload", answer),
                web.post("/restart", answer),
            ]
        )
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", fleet[1]).start()
        started.set()
        return runner

    def run():
        runner = loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(10)
    yield
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


@pytest.mark.parametrize(
    "command",
    [[status], [drain, "g0"], [ready, "g0"], [reload], [restart]],
    ids=["status", "drain", "ready", "reload", "restart"],
)
def test_without_an_agent_it_says_where_it_looked(fleet, command):
    result = CliRunner().invoke(command[0], [*command[1:], "--fleet", fleet[0]])
    assert result.exit_code == 1
    assert f"no agent at 127.0.0.1:{fleet[1]}" in result.output
    assert "pointsman serve" in result.output
    assert "If listeners.admin was edited" in result.output


@pytest.mark.parametrize("command", [status, restart], ids=["soon", "late"])
def test_an_agent_that_is_stopped_is_not_waited_for_long(fleet, command):
    """The kernel takes connections in its place. A restart may take a minute, but not to find that out."""
    with socket.create_server(("127.0.0.1", fleet[1])):
        result = CliRunner().invoke(command, ["--fleet", fleet[0]])
    assert result.exit_code == 1
    assert (
        f"the agent at 127.0.0.1:{fleet[1]} does not answer within 5 s although it is there: it hangs" in result.output
    )


def test_without_a_fleet_file_it_says_so(tmp_path):
    result = CliRunner().invoke(status, ["--fleet", str(tmp_path / "none.yaml")])
    assert (result.exit_code, "cannot be read" in result.output) == (1, True)


@pytest.mark.usefixtures("agent")
def test_an_edit_that_broke_the_file_keeps_nobody_from_draining(fleet):
    file = Path(fleet[0])
    file.write_text(file.read_text() + "surprise: 1\nmodels: 7\n")
    result = CliRunner().invoke(drain, ["g0", "--fleet", fleet[0]])
    assert result.exit_code == 0
    assert "g0 is drained" in result.stdout
    said = f"{file} cannot be used as it is (pointsman check says why); the agent is asked at 127.0.0.1:{fleet[1]}\n"
    assert result.stderr == said


@pytest.mark.usefixtures("agent")
@pytest.mark.parametrize(
    ("command", "said", "code"),
    [
        ([status, "--json"], '"version": "1"', 0),
        ([status], "pointsman 1, up 1 s", 0),
        ([drain, "g0"], "g0 is drained; pointsman ready g0 lets it serve again\n", 0),
        (
            [ready, "g0"],
            "g0 is up\nUntil the agent restarts: it has no state file\nHAProxy does not know yet\n",
            0,
        ),
        ([drain, "g9"], "there is no instance", 1),
        ([reload], "in force: models, callers\nlisteners.log: as before until the agent is restarted\n", 0),
        ([restart], "a new agent has taken over, process 4711\n", 0),
    ],
    ids=["json", "table", "drain", "ready", "who", "reload", "restart"],
)
def test_what_is_said(fleet, command, said, code):
    result = CliRunner().invoke(command[0], [*command[1:], "--fleet", fleet[0]])
    assert (result.exit_code, said in result.output) == (code, True), result.output
    assert ("Until" in result.output) is ("Until" in said)


def test_into_a_file_or_a_pipe_lines_are_not_broken(monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    console().print("word " * 100)
    assert capsys.readouterr().out.rstrip() == " ".join(["word"] * 100)
