"""HAProxy in a chroot, as Debian's own configuration has it: whether it reaches the agent, and who notices."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from spoe_agent.admin.command import status as status_command
from spoe_agent.haproxy.contact import GRACE_S
from spoe_agent.rig.process import free_port
from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import chat, routed, until
from tests.e2e.eyes import see
from tests.e2e.operator import status

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.haproxy,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the root directory"),
]

LIKE = Simulated(instances=1, models=(("alpha:latest", "4.7GB"),), time_scale=50.0)


@asynccontextmanager
async def in_chroot(binary: str, folder: Path, spop: str, **settings: Any) -> AsyncIterator[Stack]:
    """A stack whose HAProxy has its root directory below `folder`."""
    jail = folder / "jail"
    jail.mkdir()
    (folder / "own.cfg").write_text(f"global\n  chroot {jail}\n")
    wrapper = folder / "haproxy.sh"
    wrapper.write_text(f'#!/bin/sh\nexec {binary} -f {folder}/own.cfg "$@"\n')
    wrapper.chmod(0o755)
    settings = {"listeners": {"spop": spop}, **settings}
    async with Stack(folder, str(wrapper), LIKE, settings=settings) as running:
        yield running


async def reason(session: aiohttp.ClientSession, stack: Stack) -> str:
    async with session.post(f"{stack.url}/api/chat", json=chat("alpha", stream=False)) as answer:
        await answer.read()
        assert answer.status == 200
        return routed(answer)[1]


async def test_a_socket_outside_the_chroot_is_never_asked_and_that_is_said(
    binary: str, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """The request is served all the same, which is why nobody would notice."""
    async with in_chroot(binary, tmp_path, f"unix@{tmp_path}/spop.sock") as own:

        async def client() -> None:
            while True:
                assert await reason(session, own) == "fallback"
                await asyncio.sleep(0.02)

        async with asyncio.TaskGroup() as group:
            asking = group.create_task(client())
            what, metric = "HAProxy has never asked this agent", "pointsman_fallbacks_total"
            await see(session, own, "", what, metric, within_s=GRACE_S)
            asking.cancel()
        found = (await status(session, own))["haproxy"]
        assert (found["questions"], found["asked_age_s"]) == (0, None)
        assert 2 <= found["fell_back"] <= found["lines"]
        command = ["--fleet", str(own.fleet_file)]
        printed = (await asyncio.to_thread(CliRunner().invoke, status_command, command)).output.replace("\n", " ")
        assert printed.startswith("WARNING: HAProxy has never asked this agent, although it sends log lines")
        assert "haproxy.spop" in printed

        async def logged() -> bool:
            return "requests are routed without the agent" in own.agent.output.read_text()

        await until(logged, 30, "a warning in the agent's log")


@pytest.mark.parametrize(
    ("spop", "settings"),
    [("unix@{folder}/jail/spop.sock", {"haproxy": {"spop": "unix@/spop.sock"}}), ("127.0.0.1:{port}", {})],
    ids=["socket in the chroot", "TCP"],
)
async def test_what_haproxy_can_reach_is_asked(
    binary: str,
    session: aiohttp.ClientSession,
    tmp_path: Path,
    spop: str,
    settings: dict[str, Any],
) -> None:
    where = spop.format(folder=tmp_path, port=free_port())
    async with in_chroot(binary, tmp_path, where, **settings) as own:

        async def asked() -> bool:
            return await reason(session, own) != "fallback"

        await until(asked, 10, "an answer of the agent")
        found = (await status(session, own))["haproxy"]
        assert (found["warning"], found["questions"] > 0, len(found["processes"])) == ("", True, 1)
