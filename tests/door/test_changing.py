"""Changes through the door, in simulated Ollamas that have a store each."""

import asyncio
import json
import socket
import zlib
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256

import pytest
from aiohttp import ClientSession, web
from yarl import URL

from spoe_agent.door.answers import Answers
from spoe_agent.door.app import REQUEST_ID, Door
from spoe_agent.door.catalogue import Listing
from spoe_agent.door.changing import Changing
from spoe_agent.fleet import loads
from spoe_agent.rig.process import free_port
from spoe_agent.routing.choice import Writing
from tests.simulator.client import simulated
from tests.simulator.scenario import MODELS

DATA = b"gguf" * 100_000
DIGEST = f"sha256:{sha256(DATA).hexdigest()}"
BLOB = f"/api/blobs/{DIGEST}"
PULL, SUCCESS = {"model": "phi4-mini:3.8b"}, {"status": "success"}
FULL = "write /root/.ollama/models/blobs/sha256-0: no space left on device"
DEADLINE_S = 20


class Rig:
    """A door before two Ollamas, a and b; nobody listens where c is."""

    def __init__(self, a, b, door_at, writings):
        self.ollamas, self.client, self.writings = {"a": a, "b": b}, door_at, writings
        self.changed = []

    async def ask(self, method, path, body=None, stores=(("a",), ("b",)), data=None, about=()):
        """Return status and text of the answer to a change in stores, each given by its writers."""
        request_id = f"r{len(self.writings)}{method}{path}"
        self.writings[request_id] = tuple(
            Writing(("x", *names) if names else ("d",), names, "drained") for names in stores
        )
        headers = {REQUEST_ID: request_id, **dict(about)}
        async with self.client.request(method, path, json=body, data=data, headers=headers) as answer:
            text = await answer.text()
            return answer.status, [json.loads(line) for line in text.splitlines()] if text[:1] == "{" else text

    async def models(self):
        """Return the new models that each has."""
        found = []
        for ollama in self.ollamas.values():
            _, tags = await ollama.get("/api/tags")
            found.append({model["name"] for model in tags["models"]} - {"a:latest"})
        return found

    async def seen(self, name):
        _, told = await self.ollamas[name].get("/sim/requests")
        return [(one["method"], one["path"], one["status"]) for one in told["requests"]]


@asynccontextmanager
async def opened(time_scale=2000.0):
    async with AsyncExitStack() as stack:
        a, b = [await stack.enter_async_context(simulated(time_scale, {"a": MODELS["a"]})) for _ in "ab"]
        ports = {"a": a.port, "b": b.port, "c": free_port()}
        rows = [f'{{name: {name}, url: "http://127.0.0.1:{port}"}}' for name, port in ports.items()]
        instances = {one.name: one for one in loads(f"instances: [{', '.join(rows)}]").instances}
        rig = Rig(a, b, None, {})
        changing = Changing(instances.get, lambda names: rig.changed.append(tuple(names)), lambda: 60.0)

        async def look():
            pass

        door = Door(Answers(lambda: {}, dict.fromkeys(Listing, look)), changing, rig.writings, lambda: 7)
        sock = socket.create_server(("127.0.0.1", 0))
        await door.listen(sock)
        stack.push_async_callback(door.close)
        rig.door, rig.nobody_at = door, ports["c"]
        rig.client = await stack.enter_async_context(ClientSession(f"http://127.0.0.1:{sock.getsockname()[1]}"))
        yield rig


async def test_a_pull_is_one_stream_and_its_lists_are_read_at_once():
    async with opened() as rig:
        status, lines = await rig.ask("POST", "/api/pull", PULL)
        assert (status, lines[0], lines[-1]) == (200, {"status": "pulling manifest"}, SUCCESS)
        assert [line["status"] for line in lines if "digest" not in line] == [
            "pulling manifest",
            "verifying sha256 digest",
            "writing manifest",
            "success",
        ]
        digests = [line["digest"] for line in lines if "digest" in line]
        assert len(set(digests)) == 2
        assert digests == sorted(digests, key=digests.index), "one bar after another"
        assert await rig.models() == [{"phi4-mini:3.8b"}] * 2
        assert sorted(rig.changed) == [("x", "a"), ("x", "b")]
        assert await rig.ask("POST", "/api/pull", {**PULL, "stream": False}) == (200, [SUCCESS])


async def test_one_store_is_full():
    async with opened() as rig:
        await rig.ollamas["b"].fault("full_disk")
        status, lines = await rig.ask("POST", "/api/pull", PULL)
        assert (status, lines[-1]) == (
            200,
            {"error": f"not in every model store: b: {FULL}; done in that of a"},
        )
        assert {"status": f"not in x, b: {FULL}; the others go on"} in lines
        assert SUCCESS not in lines
        assert await rig.models() == [{"phi4-mini:3.8b"}, set()]
        status, (said,) = await rig.ask("POST", "/api/pull", {**PULL, "stream": False})
        assert (status, said["error"]) == (500, f"not in every model store: b: {FULL}; done in that of a")


@pytest.mark.parametrize("stores", [(("a",), ("c", "b")), (("a",), ("gone", "b"))], ids=["refuses", "not in the file"])
async def test_another_instance_of_the_store_takes_its_place(stores):
    async with opened() as rig:
        assert (await rig.ask("POST", "/api/pull", PULL, stores))[1][-1] == SUCCESS
        assert await rig.models() == [{"phi4-mini:3.8b"}] * 2


@pytest.mark.parametrize(
    ("stores", "error"),
    [
        ((("a",), ("c",)), "x, c: no Ollama instance is up (connection refused)"),
        ((("a",), ()), "d: no Ollama instance is up (drained)"),
    ],
    ids=["refuses", "drained"],
)
async def test_a_store_with_nobody_up_is_said(stores, error):
    async with opened() as rig:
        _, lines = await rig.ask("POST", "/api/pull", PULL, stores)
        assert lines[-1] == {"error": f"not in every model store: {error}; done in that of a"}
        assert await rig.models() == [{"phi4-mini:3.8b"}, set()]
        status, (said,) = await rig.ask("POST", "/api/copy", {"source": "a", "destination": "n"}, stores)
        assert (status, said) == (503, lines[-1])


async def test_an_error_that_no_one_can_read_is_that_stores_own():
    deep = "[" * 100_000

    async def odd(_):
        return web.Response(status=500, text=deep)

    async with opened() as rig:
        app = web.Application()
        app.router.add_post("/api/copy", odd)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", rig.nobody_at).start()
        try:
            copied = {"source": "a", "destination": "n"}
            status, (said,) = await rig.ask("POST", "/api/copy", copied, (("a",), ("c",)))
        finally:
            await runner.cleanup()
        assert (status, said["error"]) == (500, f"not in every model store: c: {deep}; done in that of a")
        assert await rig.models() == [{"n:latest"}, set()]


async def test_what_all_say_alike_is_ollamas_own_answer():
    async with opened() as rig:
        nobody = {"error": "pull model manifest: file does not exist"}
        assert await rig.ask("POST", "/api/pull", {"model": "nobody"}) == (
            200,
            [{"status": "pulling manifest"}, nobody],
        )
        assert await rig.ask("POST", "/api/pull", {"model": "nobody", "stream": False}) == (500, [nobody])
        assert await rig.ask("POST", "/api/create", {"model": "a b"}) == (400, [{"error": "invalid model name"}])
        assert await rig.ask("GET", "/api/pull") == (405, "405 method not allowed")


async def test_a_packed_body_is_handed_on_as_it_came():
    async with opened() as rig:
        body = zlib.compress(json.dumps({"model": "a"}).encode())
        for data in (body, b"not packed"):
            status, (said,) = await rig.ask(
                "DELETE", "/api/delete", data=data, about={"Content-Encoding": "deflate"}.items()
            )
            assert (status, said["error"].split(" ")[0]) == (400, "invalid")
        assert await rig.ask("DELETE", "/api/delete", {"model": "a"}) == (200, ""), "it is still there"


async def test_copied_and_deleted_where_it_is():
    async with opened() as rig:
        await rig.ask("POST", "/api/copy", {"source": "a", "destination": "n"})
        assert await rig.models() == [{"n:latest"}] * 2
        await rig.ollamas["b"].session.delete("/api/delete", json={"model": "n"})
        assert await rig.ask("DELETE", "/api/delete", {"model": "n"}) == (200, "")
        assert await rig.models() == [set(), set()]
        assert await rig.ask("DELETE", "/api/delete", {"model": "n"}) == (404, [{"error": "model 'n' not found"}])


async def test_a_file_is_sent_once_and_comes_to_all():
    async def pieces():
        for start in range(0, len(DATA), 50_000):
            yield DATA[start : start + 50_000]

    async with opened() as rig:
        assert await rig.ask("HEAD", BLOB) == (404, "")
        await rig.ollamas["a"].session.post(BLOB, data=DATA)
        assert await rig.ask("HEAD", BLOB) == (404, "")
        assert await rig.ask("POST", BLOB, data=pieces()) == (201, "")
        assert await rig.ask("HEAD", BLOB) == (200, "")
        assert await rig.ask("POST", BLOB, data=DATA) == (200, "")
        assert await rig.ask("POST", URL(BLOB.replace("blobs", "bl%6Fbs"), encoded=True), data=DATA) == (200, "")
        assert [one[2] for one in await rig.seen("a") if one[0] == "POST"] == [201], "what it has is not sent to it"
        assert [one[2] for one in await rig.seen("b") if one[0] == "POST"] == [201]
        assert rig.changed == [], "a file is no model yet"
        made = {"model": "mine", "files": {"m.gguf": DIGEST}}
        assert (await rig.ask("POST", "/api/create", made))[1][-1] == SUCCESS
        assert await rig.models() == [{"mine:latest"}] * 2


async def test_a_store_that_does_not_get_the_file_is_named_by_what_is_made_of_it():
    async with opened() as rig:
        await rig.ollamas["b"].fault("full_disk", count=1)
        assert await rig.ask("POST", BLOB, data=DATA) == (201, "")
        _, lines = await rig.ask("POST", "/api/create", {"model": "mine", "files": {"m.gguf": DIGEST}})
        assert lines[-1]["error"].startswith("not in every model store: b: open ")
        assert lines[-1]["error"].endswith("no such file or directory; done in that of a")
        wrong = f"/api/blobs/sha256:{'0' * 64}"
        status, (said,) = await rig.ask("POST", wrong, data=DATA)
        assert (status, said["error"].split(",")[0]) == (400, "digest mismatch")


async def test_a_client_that_leaves_takes_its_pulls_with_it():
    async with opened(time_scale=1.0) as rig:
        rig.writings["r"] = (Writing(("a",), ("a",)), Writing(("b",), ("b",)))
        async with rig.client.post("/api/pull", json=PULL, headers={REQUEST_ID: "r"}) as answer:
            assert json.loads(await answer.content.readline()) == {"status": "pulling manifest"}
            answer.close()
        async with asyncio.timeout(DEADLINE_S):
            for name in "ab":
                while ("POST", "/api/pull", 499) not in await rig.seen(name):
                    await asyncio.sleep(0.01)


async def test_an_agent_that_was_replaced_ends_what_it_has_begun():
    async with opened(time_scale=100.0) as rig:
        pull = asyncio.ensure_future(rig.ask("POST", "/api/pull", PULL))
        async with asyncio.timeout(DEADLINE_S):
            while not await rig.seen("b"):
                await asyncio.sleep(0.01)
        await rig.door.close(waits=True)
        assert (await pull)[1][-1] == SUCCESS


async def test_only_what_was_decided_is_done_and_only_once():
    async with opened() as rig:
        for headers in ({}, {REQUEST_ID: "guessed"}):
            async with rig.client.delete("/api/delete", json={"model": "a"}, headers=headers) as answer:
                assert (answer.status, "restarted" in await answer.text()) == (503, True)
                assert answer.headers["Retry-After"] == "7"
        await rig.ask("POST", "/api/copy", {"source": "a", "destination": "n"})
        assert rig.writings == {}
        assert await rig.seen("a") == [("POST", "/api/copy", 200)]
