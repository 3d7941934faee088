"""The stream of scenes from an agent: while it is there, hangs, is away, and refuses."""

from contextlib import aclosing

from aiohttp import web

from spoe_agent.keys.entry import Key, hash_of
from spoe_agent.keys.file import change
from spoe_agent.keys.operators import VARIABLE
from spoe_agent.process.listening import bind
from spoe_agent.top.scenes import scenes
from tests.dashboard.stage import Stage


async def test_an_agent_that_hangs_is_told_from_one_that_is_gone():
    stage = Stage(1, tick_s=3600.0)
    async with aclosing(scenes(stage.listen, silent_s=0.2)) as found:
        async with stage.serving():
            assert (await anext(found))["instances"][0]["name"] == "gpu0"
            assert await anext(found) == "it is there, and says nothing: it hangs or is stopped"
        said = await anext(found)
        while "hangs" in said:
            said = await anext(found)
        assert "refused" in said or "Connect call failed" in said


async def test_a_big_scene_is_read_whole():
    stage = Stage(200)
    async with stage.serving(), aclosing(scenes(stage.listen)) as found:
        assert len((await anext(found))["instances"]) == 200


async def test_a_key_goes_with_it_where_one_is_asked_for(tmp_path, monkeypatch):
    file = tmp_path / "keys.json"
    change(file, lambda _: (Key(name="b", hash=hash_of("manages"), manage=True),))
    stage = Stage(1, keys=str(file))
    monkeypatch.setenv(VARIABLE, "manages")
    async with stage.serving(), aclosing(scenes(stage.listen)) as found:
        assert (await anext(found))["instances"][0]["name"] == "gpu0"


async def test_a_refusal_is_told():
    async def refuse(_):
        return web.json_response({"error": "a key is asked for"}, status=401)

    stage, app = Stage(1), web.Application()
    app.add_routes([web.get("/dashboard/events", refuse)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.SockSite(runner, bind(stage.listen)).start()
    try:
        async with aclosing(scenes(stage.listen)) as found:
            assert await anext(found) == 'it answered 401: {"error": "a key is asked for"}'
    finally:
        await runner.cleanup()
