"""A program in which everything goes wrong over one request, with the agent's own log. Run by test_faults."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
from pathlib import Path

import click
from pydantic import BaseModel

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.persistently import persistently
from spoe_agent.fleet import Listen
from spoe_agent.haproxy.contract import Question
from spoe_agent.serve_command import new_loop, set_up_logging
from spoe_agent.spop import Message, encode_notify
from tests.peer import Peer, read
from tests.serving import Rig


class Body(BaseModel):
    """Whoever takes a text for one gets an error that repeats the text."""

    size: int


class Faulty(Agent):
    """Fails over each request, each time otherwise."""

    def decide(self, facts):
        """Raise what repeats its request."""
        if facts.request_id == "r1":
            raise ValueError(repr(facts))
        if facts.request_id == "r2":
            Body.model_validate_json(facts.asked)
        try:
            raise ExceptionGroup(facts.asked, [KeyError(facts.caller), OSError(28, facts.asked)])
        except ExceptionGroup as error:
            raise UnicodeEncodeError("utf-8", facts.asked, 0, 1, facts.asked) from error


class Gone:
    """Fails when it is collected."""

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return self.value

    def __del__(self) -> None:
        raise ValueError(self.value)


def fail(value: str) -> None:
    """Raise what repeats a value."""
    raise ValueError(value)


async def fail_soon(value: str) -> None:
    """Do the same in a task."""
    fail(value)


def whole(body: bytes) -> bytes:
    """The question of a body that is read to its end."""
    return encode_notify(3, 3, [Message(Question.INSPECT, {**read(None, 3).args, "body": body, "path": "/api/chat"})])


async def ask(secret: str, folder: Path) -> None:
    """Ask three questions whose decisions fail: at once, at once, and later."""
    address = Listen(path=str(folder / "spop.sock"))
    body = b'{"model":"%s","messages":[{"role":"user","content":"%s"}]}' % (secret.encode(), secret.encode())
    along = {"head": body, "size": len(body), "seen": len(body), "caller": secret, "key": secret, "trace": secret}
    async with Rig(agent=Faulty).listening(address), Peer(address) as peer:
        await peer.opened()
        peer.send(*(encode_notify(n, n, [read(None, n, **along)]) for n in (1, 2)), whole(body))
        assert {answer[2]["reason"] for answer in await peer.answers(3)} == {"agent error"}


async def go_wrong(secret: str, folder: Path) -> None:
    """Do so everywhere else."""
    await ask(secret, folder)
    loop = asyncio.get_running_loop()
    loop.call_soon(fail, secret)
    task = loop.create_task(fail_soon(secret))
    await asyncio.wait([task])
    del task
    thread = threading.Thread(target=fail, args=(secret,))
    thread.start()
    thread.join()
    Gone(secret)
    gc.collect()
    paused = asyncio.Event()

    async def pause(_: float) -> None:
        paused.set()
        await asyncio.Event().wait()

    work = loop.create_task(persistently("work", lambda: fail_soon(secret), pause))
    await paused.wait()
    work.cancel()
    try:
        fail(secret)
    except ValueError:
        logging.getLogger("aiohttp.server").exception("Error handling request from %s", secret)


@click.command()
@click.argument("folder", type=Path)
def faulty(folder: Path) -> None:
    """Go wrong, and end so."""
    secret = sys.stdin.read()
    set_up_logging("debug")
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(go_wrong(secret, folder))
    fail(secret)


if __name__ == "__main__":
    from spoe_agent.cli import LazyGroup

    LazyGroup("group", commands_at={"faulty": "tests.faulty:faulty"})()
