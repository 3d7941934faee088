"""What a probe asks, of a server that answers as Ollama does."""

import json

import pytest
from aiohttp import ClientSession, web

from spoe_agent.instances.http import Remote
from spoe_agent.instances.probe import Target, probe, target
from spoe_agent.routing.snapshot import InstanceState, LoadedModel

BIG, SMALL = LoadedModel(9, 9, 8192), LoadedModel(3, 3, 4096)


@pytest.mark.parametrize(
    ("state", "of_loads", "silent", "expected"),
    [
        (InstanceState(), False, "", None),
        (InstanceState(installed={"a": 5, "b": 3}), False, "", Target("b", 0, True)),
        (InstanceState(installed={"a:cloud": 3}), False, "", None),
        (InstanceState(loaded={"a": BIG, "b": SMALL}), False, "", Target("b", 4096, False)),
        (InstanceState(loaded={"a": BIG, "b": SMALL}), False, "a", Target("a", 8192, False)),
        (InstanceState(loaded={"a": BIG}), False, "gone", Target("a", 8192, False)),
        (InstanceState(loaded={"a": BIG}, installed={"b": 1}), True, "", None),
        (InstanceState(installed={"b": 1}), True, "", Target("b", 0, True)),
    ],
)
def test_whom_to_ask(state, of_loads, silent, expected):
    assert target(state, of_loads, silent) == expected


async def asked_of(answers, what, deadline_s=5.0):
    """Probe a server that gives these answers in turn; return the outcome and what it was asked."""
    asked = []

    async def answer(request):
        asked.append((request.path, json.loads(await request.read())))
        status, text = answers[len(asked) - 1]
        return web.Response(status=status, text=text)

    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        async with ClientSession() as session:
            return await probe(session, Remote(f"http://127.0.0.1:{port}"), what, deadline_s), asked
    finally:
        await runner.cleanup()


async def test_one_token_of_what_is_loaded_as_it_is_loaded():
    outcome, asked = await asked_of([(200, "{}")], Target("registry.ollama.ai/library/m:latest", 8192, False))
    assert outcome == ""
    options = {"num_predict": 1, "num_ctx": 8192}
    assert asked == [("/api/generate", {"model": "m:latest", "prompt": ".", "stream": False, "options": options})]


async def test_embedding_models_embed():
    refused = (400, '{"error":"\\"m\\" does not support generate"}')
    outcome, asked = await asked_of([refused, (200, "{}")], Target("m", 512, False))
    assert outcome == ""
    assert asked[1] == ("/api/embed", {"model": "m", "input": ".", "options": {"num_ctx": 512}})


async def test_an_error_is_told():
    outcome, _ = await asked_of([(500, "runner has stopped")], Target("m", 0, False))
    assert outcome == "m answered 500: runner has stopped"


async def test_nobody_there():
    async with ClientSession() as session:
        assert "m " in await probe(session, Remote("http://127.0.0.1:1"), Target("m", 0, False), 5.0)
