"""The fleet file's changes under way: what is added, moved or removed, and what cannot be applied."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.admin.reload import LOOK_INTERVAL_S
from spoe_agent.rig.process import free_port
from spoe_agent.rig.stack import Simulated
from tests.e2e.conftest import MODELS, chat, until
from tests.e2e.eyes import see
from tests.e2e.fleet_edits import Service, another_ollama, service
from tests.e2e.operator import QUICK, ask, asking, status

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.haproxy]

DELTA = (("delta:latest", "1GB"),)
FOLLOWED_S = 10.0
TAKER = """
import os, pathlib, socket, sys, time
taken = socket.create_server(("127.0.0.1", int(sys.argv[1])))
if pid := os.fork():
    pathlib.Path(sys.argv[2]).write_text(str(pid))
    os._exit(0)
os.close(1), os.close(2)
time.sleep(60)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    simulated = Simulated(instances=2, models=MODELS, time_scale=50.0)
    async with service(binary, tmp_path_factory.mktemp("apply"), simulated, policies=QUICK) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gpu9(own: Service) -> AsyncIterator[dict[str, Any]]:
    """One more Ollama, with a store of its own, which the fleet file does not name."""
    async with another_ollama(own, "gpu9", DELTA) as entry:
        yield entry


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def as_it_was(own: Service) -> AsyncIterator[None]:
    """What a test edits, it leaves as it was."""
    before = own.fleet_file.read_text()
    yield
    own.fleet_file.write_text(before)
    code, said = await own.command("apply")
    assert code == 0, said


async def sighup(own: Service, session: aiohttp.ClientSession) -> None:
    """Have the agent, and nobody else, follow the file."""
    own.agent.signal(signal.SIGHUP)

    async def follows() -> bool:
        return not (await status(session, own))["fleet"]["changed"]

    await until(follows, FOLLOWED_S, "the agent follows the fleet file")


async def test_what_is_added_gets_nothing_until_haproxy_has_it(
    own: Service, session: aiohttp.ClientSession, gpu9: dict[str, Any]
) -> None:
    own.edited(instances=[gpu9, *own.instances()])
    await sighup(own, session)
    async with session.post(f"{own.url}/api/chat", json=chat("delta")) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert "is in HAProxy yet" in await answer.text()
    for _ in range(5):
        code, instance = await ask(session, own, "alpha")
        assert (code, instance != "gpu9") == (200, True)
    assert any("gpu9" in warning for warning in (await status(session, own))["warnings"])
    code, said = await own.command("apply")
    assert code == 0, said
    assert "haproxy.cfg written" in said
    assert said.endswith(f"HAProxy serves at {own.fleet.listeners.front}\napplied\n")
    # Known at once, not with the next request. What was not served before is told for some minutes.
    assert all("1 not served" in warning for warning in (await status(session, own))["warnings"])
    assert await ask(session, own, "delta") == (200, "gpu9")
    own.agent.signal(signal.SIGKILL)
    await own.agent.wait()
    for _ in range(5):
        assert await ask(session, own, "delta") == (200, "gpu9")
        assert (await ask(session, own, "alpha"))[0] == 200
    await own.agent.start()
    await own.agent.ready(own.agent_is_ready)
    assert not any("gpu9" in warning for warning in (await status(session, own))["warnings"])


async def test_what_moved_is_another_server_until_haproxy_knows(
    own: Service, session: aiohttp.ClientSession, gpu9: dict[str, Any]
) -> None:
    first, second = own.instances()
    own.edited(instances=[{**first, "url": gpu9["url"]}, second])
    await sighup(own, session)
    async with session.post(f"{own.url}/api/chat", json=chat("delta")) as answer:
        assert answer.status == 503
    for _ in range(5):
        assert await ask(session, own, "alpha") == (200, second["name"])
    code, said = await own.command("apply")
    assert code == 0, said
    assert await ask(session, own, "delta") == (200, first["name"])


async def test_what_is_removed_gets_nothing_although_haproxy_has_it(
    own: Service, session: aiohttp.ClientSession
) -> None:
    _, second = own.instances()
    own.edited(instances=[second])
    await sighup(own, session)
    for _ in range(10):
        assert await ask(session, own, "alpha") == (200, second["name"])


async def test_applied_under_load_nobody_notices(
    own: Service, session: aiohttp.ClientSession, gpu9: dict[str, Any]
) -> None:
    before = own.instances()
    failed: list[int] = []
    async with (
        asking(session, own, "alpha", clients=4, failed=failed),
        asking(session, own, "beta:7b", clients=4, failed=failed),
    ):
        for instances in ([*before, gpu9], [*before[1:], gpu9], before):
            own.edited(instances=instances)
            code, said = await own.command("apply")
            assert code == 0, said
    assert failed == []


@pytest.mark.parametrize("broken", ["edit", "test", "reload"])
async def test_what_cannot_be_applied_changes_nothing(
    own: Service, session: aiohttp.ClientSession, gpu9: dict[str, Any], broken: str
) -> None:
    config = own.folder / "haproxy" / "haproxy.cfg"
    before, haproxy = config.read_text(), own.fleet.haproxy.model_dump()
    if broken == "edit":
        own.edited(surprise=1)
    else:
        command = {
            "test": "echo it is bad; false",
            "reload": "exit 7",
        }[broken]
        own.edited(instances=[*own.instances(), gpu9], haproxy={**haproxy, broken: command})
    code, said = await own.command("apply")
    assert code == 1, said
    expected = {
        "edit": "surprise: unknown key",
        "test": "failed with status 1: echo it is bad; false\nit is bad",
        # By the command of before.
        "reload": "undone: HAProxy and the agent go on as before",
    }
    assert expected[broken] in said
    assert config.read_text() == before
    found = await status(session, own)
    assert "gpu9" not in {one["name"] for one in found["instances"]}
    assert found["fleet"]["changed"] or found["fleet"]["problems"]
    if broken == "edit":
        await see(session, own, "", "surprise: unknown key", "pointsman_fleet_file_mistakes", within_s=LOOK_INTERVAL_S)
    assert (await ask(session, own, "alpha"))[0] == 200


def with_front(own: Service, port: int) -> None:
    """Have clients connect elsewhere, in the fleet file."""
    own.edited(listeners=own.listeners() | {"front": f"127.0.0.1:{port}"})


async def test_a_front_that_somebody_else_has_is_refused_and_nothing_is_reloaded(
    own: Service, session: aiohttp.ClientSession
) -> None:
    port = free_port()
    with_front(own, port)
    with socket.create_server(("127.0.0.1", port)):
        code, said = await own.command("apply")
    assert code == 1, said
    assert f"listeners.front (TCP 127.0.0.1:{port}) is taken by process {os.getpid()} " in said
    assert "reloaded" not in said
    assert (await ask(session, own, "alpha"))[0] == 200


async def test_a_haproxy_that_cannot_listen_is_found_out_and_undone(
    own: Service, session: aiohttp.ClientSession
) -> None:
    """Somebody takes the address after it was looked at. The old process goes on, and nothing is said of it: so does a
    master process (`haproxy -W`, which Debian's unit runs).
    """
    config = own.folder / "haproxy" / "haproxy.cfg"
    before, haproxy = config.read_text(), own.fleet.haproxy.model_dump()
    port, taker = free_port(), own.folder / "take.py"
    taker.write_text(TAKER)
    with_front(own, port)
    take = f"grep -q :{port} {config} && {sys.executable} {taker} {port} {own.folder}/taken"
    own.edited(haproxy={**haproxy, "test": f"{take}; {haproxy['test']}", "reload": f"{haproxy['reload']} || true"})
    try:
        code, said = await own.command("apply")
    finally:
        os.kill(int((own.folder / "taken").read_text()), signal.SIGKILL)
    assert code == 1, said
    assert (
        f"HAProxy was reloaded, and no new process of it asks the agent for what clients ask at 127.0.0.1:{port}"
        in said
    )
    assert "undone: HAProxy and the agent go on as before" in said
    assert config.read_text() == before
    assert (await ask(session, own, "alpha"))[0] == 200
