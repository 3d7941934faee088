import aiohttp
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import unused_port

from spoe_agent.instances.http import Remote
from spoe_agent.instances.lists import InstalledModel, installed_model
from spoe_agent.instances.ollama import OllamaClient, UnexpectedAnswer
from spoe_agent.routing import LoadedModel
from spoe_agent.routing.names import canonical
from tests.instances.servers import MODEL, FakeOllama, client_of

KEY = canonical("llama3:8b")


async def test_the_three_lists():
    ollama = FakeOllama()
    ollama.answers["/api/ps"] = ollama.answers["/api/tags"] = {"models": [MODEL]}
    async with client_of(ollama) as client:
        assert await client.loaded() == {KEY: LoadedModel(30, 20, 4096)}
        assert await client.installed() == {KEY: InstalledModel(30)}
        assert await client.version() == "0.33.0"
    assert ollama.asked == ["/api/ps", "/api/tags", "/api/version"]


@pytest.mark.parametrize(
    ("path", "ask", "found"),
    [
        ("/api/tags", OllamaClient.installed, {KEY: InstalledModel(30)}),
        ("/api/ps", OllamaClient.loaded, {KEY: LoadedModel(30, 20, 4096)}),
    ],
)
async def test_a_list_is_read_anew_when_it_changes_and_only_then(path, ask, found):
    ollama = FakeOllama()
    async with client_of(ollama) as client:
        assert await ask(client) == {}
        ollama.answers[path] = {"models": [MODEL]}
        first, second = [await ask(client) for _ in range(2)]
        assert first == found
        assert second is first
        ollama.answers[path] = {"models": None}
        assert await ask(client) == {}


async def test_what_cannot_be_read_is_an_error_each_time():
    ollama = FakeOllama()
    async with client_of(ollama) as client:
        await client.loaded()
        for _ in range(2):
            ollama.answers["/api/ps"] = web.Response(text="<html>")
            with pytest.raises(UnexpectedAnswer):
                await client.loaded()


NOTHING = LoadedModel(0, 0, 0)
LISTS = {
    "none": ({"models": []}, {}),
    "null": ({"models": None}, {}),
    "no list at all": ({}, {}),
    "no list but a text": ({"models": "llama3"}, {}),
    "name only, as old servers have it": ({"models": [{"name": "LLAMA3:8b"}]}, {KEY: NOTHING}),
    "before context_length": (
        {"models": [{"model": "llama3:8b", "size": 3, "size_vram": 3}]},
        {KEY: LoadedModel(3, 3)},
    ),
    "sizes that are no numbers": (
        {"models": [{**MODEL, "size": "3", "size_vram": None}]},
        {KEY: LoadedModel(0, 0, 4096)},
    ),
    "names that cannot be": (
        {"models": [{"name": "a b"}, {"name": 7}, {}, "x", None, MODEL]},
        {KEY: LoadedModel(30, 20, 4096)},
    ),
    "several": ({"models": [{"name": "a"}, {"name": "b"}]}, {canonical("a"): NOTHING, canonical("b"): NOTHING}),
}


@pytest.mark.parametrize(("answer", "expected"), LISTS.values(), ids=LISTS)
async def test_a_list_of_models(answer, expected):
    ollama = FakeOllama()
    ollama.answers["/api/ps"] = answer
    async with client_of(ollama) as client:
        assert await client.loaded() == expected


UNEXPECTED = {
    "an error": (web.Response(status=500, text="oh"), "GET /api/ps answered 500"),
    "another server's page": (web.Response(text="<html>"), "answered no JSON: "),
    "brackets without end": (web.Response(text='{"models":' + 100_000 * "["), "answered no JSON: "),
    "nothing": (web.Response(text=""), "answered no JSON"),
    "bytes that are no text": (web.Response(body=b"\xff\xfe{"), "answered no JSON: "),
    "a list": ([MODEL], "answered no JSON object"),
    "far too much": (web.Response(body=bytes(16 * 1024 * 1024 + 1)), "more than 16777216 bytes"),
}


@pytest.mark.parametrize(("answer", "why"), UNEXPECTED.values(), ids=UNEXPECTED)
async def test_what_ollama_would_not_answer(answer, why):
    ollama = FakeOllama()
    ollama.answers["/api/ps"] = answer
    async with client_of(ollama) as client:
        with pytest.raises(UnexpectedAnswer, match=why):
            await client.loaded()


async def test_a_server_that_does_not_answer_in_time():
    ollama = FakeOllama()
    ollama.hang.clear()
    async with client_of(ollama, timeout_s=0.05) as client:
        with pytest.raises(TimeoutError):
            await client.loaded()


async def test_nobody_listens():
    async with ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await OllamaClient(session, Remote(f"http://127.0.0.1:{unused_port()}"), 30).loaded()


async def test_a_model_is_unloaded_by_asking_it_nothing_and_not_keeping_it():
    ollama = FakeOllama()
    ollama.answers["/api/generate"] = {"model": "llama3:8b", "done": True, "done_reason": "unload"}
    async with client_of(ollama) as client:
        await client.unload("llama3:8b")
    assert ollama.posted == [{"model": "llama3:8b", "keep_alive": 0}]


async def test_a_model_that_cannot_be_unloaded_is_said():
    ollama = FakeOllama()
    ollama.answers["/api/generate"] = web.json_response({"error": "model 'x' not found"}, status=404)
    async with client_of(ollama) as client:
        with pytest.raises(UnexpectedAnswer, match="unloading x:1 answered 404"):
            await client.unload("x:1")


async def test_unloading_takes_no_longer_than_any_other_question():
    ollama = FakeOllama()
    ollama.answers["/api/generate"] = {}
    ollama.hang.clear()
    async with client_of(ollama, timeout_s=0.05) as client:
        with pytest.raises(TimeoutError):
            await client.unload("x:1")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"size": 5, "digest": "d"}, InstalledModel(5, "d")),
        ({"details": {"context_length": 8192}}, InstalledModel(0, trained_context=8192)),
        ({"details": {"context_length": "8192"}}, InstalledModel(0)),
        ({"capabilities": ["completion", "tools"], "details": {"family": "llama"}}, InstalledModel(0)),
        ({"capabilities": ["embedding"], "details": {"family": "nomic-bert"}}, InstalledModel(0, "", True)),
        ({"capabilities": ["completion", "vision"], "details": {"family": "qwen3vl"}}, InstalledModel(0, "", True)),
        ({"capabilities": [], "details": None, "digest": 7}, InstalledModel(0)),
        ({"capabilities": "embedding", "details": {"family": ["mllama"]}}, InstalledModel(0)),
    ],
)
def test_what_is_installed(entry, expected):
    assert installed_model(entry) == expected


async def test_a_model_is_kept_by_asking_it_nothing_with_the_context_that_it_has():
    ollama = FakeOllama()
    ollama.answers["/api/generate"] = {"model": "x:1", "done": True, "done_reason": "load"}
    async with client_of(ollama) as client:
        await client.touch("x:1", 8192)
        await client.touch("x:1", 0)
    asked = {"model": "x:1", "stream": False}
    assert ollama.posted == [{**asked, "options": {"num_ctx": 8192}}, asked]


async def test_an_embedding_model_is_kept_by_embedding_nothing():
    ollama = FakeOllama()
    no = web.json_response({"error": '"x:1" does not support generate'}, status=400)
    ollama.answers |= {"/api/generate": no, "/api/embed": {"embeddings": []}}
    async with client_of(ollama) as client:
        await client.touch("x:1", 0)
    assert ollama.posted[-1] == {"model": "x:1", "stream": False, "input": []}


async def test_a_model_that_cannot_be_kept_is_said():
    ollama = FakeOllama()
    ollama.answers["/api/generate"] = web.json_response({"error": "model 'x' not found"}, status=404)
    async with client_of(ollama) as client:
        with pytest.raises(UnexpectedAnswer, match="x:1 without a prompt answered 404"):
            await client.touch("x:1", 0)


async def test_a_model_is_loaded_with_what_it_has_unasked():
    ollama = FakeOllama()
    ollama.answers["/api/generate"] = {"done": True, "done_reason": "load"}
    async with client_of(ollama) as client:
        await client.load("x:1")
    assert ollama.posted[-1] == {"model": "x:1", "stream": False}
