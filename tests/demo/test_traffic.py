"""What the demo's clients do, and what they make of the answers they get."""

import asyncio
from collections import Counter
from contextlib import aclosing, asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from spoe_agent.demo.traffic import Answered, DemoModel, client, request_of, schedule, send, zipf
from spoe_agent.routing.surface import INFERENCE_PATHS

DEADLINE_S = 30
MODELS = [DemoModel(name) for name in "abcdefgh"]
CHAT, EMBED = DemoModel("llama3"), DemoModel("nomic-embed-text", embeds=True)


def picked(seed, number, models=MODELS):
    pick = zipf(models, seed)
    return [pick() for _ in range(number)]


def test_the_same_seed_asks_for_the_same():
    assert picked(1, 100) == picked(1, 100) != picked(2, 100)


def test_the_nth_model_is_asked_for_in_proportion_to_one_by_n():
    counts = Counter(picked(1, 20_000))
    whole = sum(1 / n for n in range(1, len(MODELS) + 1))
    for n, model in enumerate(MODELS, start=1):
        assert counts[model] / 20_000 == pytest.approx(1 / n / whole, rel=0.1)


def test_a_single_model_is_always_asked_for():
    assert set(picked(1, 100, [CHAT])) == {CHAT}


@pytest.mark.parametrize("model", [CHAT, EMBED])
def test_every_request_is_one_that_ollama_serves(model):
    for number in range(12):
        path, body = request_of(number, model)
        assert path in INFERENCE_PATHS
        assert body["model"] == model.name
        assert ("embed" in path) is model.embeds


def test_every_dialect_has_its_turn_streaming_and_not():
    requests = [request_of(number, CHAT) for number in range(8)]
    assert {path for path, _ in requests} == {"/api/chat", "/v1/chat/completions", "/api/generate", "/v1/messages"}
    assert {body.get("stream") for _, body in requests} == {True, False, None}
    assert {path for path, _ in (request_of(n, EMBED) for n in range(8))} == {"/api/embed", "/v1/embeddings"}


def test_the_model_comes_first_and_last():
    """HAProxy must find it wherever a client library puts it."""
    keys = [list(request_of(number, CHAT)[1]) for number in range(4)]
    assert {body[0] for body in keys} > {"model"}
    assert {body[-1] for body in keys} > {"model"}


@asynccontextmanager
async def answering(*parts, status=200, headers=None, is_cut=False):
    """A server that sends this to everybody, in pieces."""

    async def handle(request):
        response = web.StreamResponse(status=status, headers=headers)
        response.enable_chunked_encoding()
        await response.prepare(request)
        for part in parts:
            await response.write(part)
        if is_cut:
            request.transport.close()
        return response

    app = web.Application()
    app.router.add_post("/{path:.*}", handle)
    async with TestServer(app, host="127.0.0.1") as server:
        yield str(server.make_url("")).rstrip("/")


CHAT_NUMBER, OPENAI_NUMBER, GENERATE_NUMBER, ANTHROPIC_NUMBER = range(4)
WELL = {"x-pointsman": "gpu1 loaded"}

ENDS = {
    # the request, what is sent -> whether that is a whole answer
    "Ollama, one piece": (GENERATE_NUMBER, [b'{"response":"x","done":true}'], True),
    "Ollama, a stream": (CHAT_NUMBER, [b'{"done":false}\n', b'{"done":true}\n'], True),
    "Ollama, an error in the stream": (CHAT_NUMBER, [b'{"done":false}\n', b'{"error":"gone"}\n'], False),
    "OpenAI, a stream": (OPENAI_NUMBER, [b"data: {}\n\n", b"data: [DONE]\n\n"], True),
    "OpenAI, a stream that stops": (OPENAI_NUMBER, [b"data: {}\n\n"], False),
    "Anthropic, a stream": (ANTHROPIC_NUMBER, [b"event: ping\n\n", b'data: {"type":"message_stop"}\n\n'], True),
    "Anthropic, a stream that stops": (ANTHROPIC_NUMBER, [b"event: ping\n\n"], False),
}


@pytest.mark.parametrize(("number", "parts", "is_whole"), ENDS.values(), ids=ENDS)
async def test_a_stream_is_judged_by_its_last_words(number, parts, is_whole):
    async with answering(*parts, headers=WELL) as url, client() as session:
        seen = await send(session, url, number, CHAT)
    assert (seen.model, seen.instance, seen.reason, seen.status) == ("llama3", "gpu1", "loaded", 200)
    assert seen.failed is not is_whole
    assert seen.ttft_s > 0


async def test_a_rejection_is_a_failure_with_its_reason():
    rejected = {"x-pointsman": "- no instance up"}
    async with answering(b"{}", status=503, headers=rejected) as url, client() as session:
        seen = await send(session, url, CHAT_NUMBER, CHAT)
    assert (seen.instance, seen.reason, seen.status, seen.failed) == ("-", "no instance up", 503, True)


async def test_an_answer_without_the_header_is_an_answer():
    async with answering(b"{}") as url, client() as session:
        seen = await send(session, url, CHAT_NUMBER, CHAT)
    assert (seen.instance, seen.reason, seen.failed) == ("-", "-", False)


async def test_a_stream_that_breaks_is_a_failure():
    async with answering(b"{", headers=WELL, is_cut=True) as url, client() as session:
        seen = await send(session, url, CHAT_NUMBER, CHAT)
    assert (seen.instance, seen.status, seen.failed) == ("-", 0, True)
    assert seen.reason == "ClientPayloadError"


async def test_nobody_there_is_a_failure():
    async with client() as session:
        seen = await send(session, f"http://127.0.0.1:{unused_port()}", CHAT_NUMBER, CHAT)
    assert (seen.status, seen.failed, seen.reason) == (0, True, "ClientConnectorError")


def answer(number):
    return Answered(str(number), "gpu0", "loaded", 200, False, 0.0)


async def test_each_request_is_sent_once_and_each_answer_seen():
    sent = []

    async def send_one(number):
        sent.append(number)
        return answer(number)

    seen = [one.model async for one in schedule(send_one, 300, 1e6)]
    assert sent == list(range(300))
    assert sorted(map(int, seen)) == sent


async def test_requests_do_not_wait_for_answers():
    """Open loop: the first answer comes when the last request was sent."""
    all_sent = asyncio.Event()

    async def send_one(number):
        if number == 99:
            all_sent.set()
        await all_sent.wait()
        return answer(number)

    async with asyncio.timeout(DEADLINE_S):
        assert len([one async for one in schedule(send_one, 100, 1e4)]) == 100


async def test_answers_are_seen_as_they_come():
    released = {number: asyncio.Event() for number in range(3)}
    released[2].set()

    async def send_one(number):
        await released[number].wait()
        return answer(number)

    seen = []
    async with asyncio.timeout(DEADLINE_S):
        async for one in schedule(send_one, 3, 1e6):
            seen.append(one.model)
            if len(seen) < 3:
                released[2 - len(seen)].set()
    assert seen == ["2", "1", "0"]


async def test_nothing_is_sent_before_its_time():
    loop = asyncio.get_running_loop()
    begun, sent_at = loop.time(), []

    async def send_one(number):
        sent_at.append(loop.time())
        return answer(number)

    async for _ in schedule(send_one, 20, 200.0):
        pass
    assert all(at >= begun + number / 200.0 for number, at in enumerate(sent_at))


async def test_without_a_number_it_goes_on_until_it_is_ended():
    cancelled = []

    async def send_one(number):
        if number < 50:
            return answer(number)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(number)
            raise

    seen = 0
    async with asyncio.timeout(DEADLINE_S), aclosing(schedule(send_one, None, 1000.0)) as answers:
        async for _ in answers:
            seen += 1
            if seen == 50:
                break
    assert seen == 50
    assert all(number >= 50 for number in cancelled)
    assert len(asyncio.all_tasks()) == 1


async def test_a_bug_in_sending_ends_the_run():
    async def send_one(number):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(DEADLINE_S):
            async for _ in schedule(send_one, 1, 1e6):
                pass
