"""What is routed is what Ollama takes, or it is refused: 200 requests, judged by a reference, which Go judges."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from spoe_agent.requests.path import decoded
from spoe_agent.requests.reading import Whole, facts
from spoe_agent.routing.names import canonical
from spoe_agent.routing.surface import Kind
from tests.requests import go
from tests.requests.hostile_requests import CHANGES, EVERY, TURNED_AWAY
from tests.requests.reference import plain, taken
from tests.simulator.real_ollama import BINARY, NEEDED, real_ollama


def read(sent):
    content = sent.first("Content-Type"), sent.first("Content-Encoding")
    return facts(Whole("r1", sent.method, decoded(sent.path), sent.body, *content))


def key(name):
    try:
        return canonical(name) if name else None
    except ValueError:
        return None


@pytest.mark.parametrize("name", EVERY)
def test_what_is_routed_is_what_ollama_takes(name):
    sent, shown = EVERY[name], read(EVERY[name])
    # A form goes to Ollama without its query (tests/e2e/test_bodies.py).
    expected = taken(replace(sent, query=""))
    if shown.kind is Kind.MANAGE:
        assert expected is None or (shown.change.uses or None) == key(expected)
        return
    if key(expected) is None:
        assert expected is None or shown.model is None
        return
    is_refused = shown.problem is not None or shown.kind is Kind.LIST
    assert (shown.model or key(expected), is_refused) == (key(expected), name in TURNED_AWAY)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_not_read_as_one_of_nothing(name):
    assert bool(read(CHANGES[name]).change.uses) is bool(taken(CHANGES[name]))


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    if go.GO is None:
        pytest.skip("Go is not installed, so its decoder cannot be asked")
    return go.build(tmp_path_factory.mktemp("go"))


def test_the_reference_is_what_go_does(decoder):
    written = {name: sent.written(plain(sent)) for name, sent in EVERY.items() if plain(sent) is not None}
    found = dict(zip(written, go.models(decoder, list(written.values())), strict=True))
    expected = {name: taken(EVERY[name]) for name in written}
    assert {name: (said, expected[name]) for name, said in found.items() if said != expected[name]} == {}


async def answered(url, sent):
    """Return status and body; Ollama closes on whoever still sends what it does not read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(replace(sent, headers=(*sent.headers, ("Connection", "close"))).written())
    said = b""
    with suppress(ConnectionError):
        while piece := await reader.read(65_536):
            said += piece
    writer.close()
    head, _, body = said.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode("utf-8", "replace")


def agrees(expected, status, said):
    if expected is None:
        return status in (400, 404)
    if key(expected) is None:
        return status == 400 or "''" in said
    return expected.rpartition("/")[2] in said or ("cloud" in expected and "cloud" in said)


@pytest.mark.skipif(BINARY is None, reason=NEEDED)
@pytest.mark.asyncio
async def test_the_reference_is_what_a_real_ollama_does(tmp_path):
    """It has none of these models, so it says which one it looked for."""
    asked = {name: sent for name, sent in EVERY.items() if sent.path != "/api/push"}
    async with real_ollama(tmp_path) as url:
        found = {name: await answered(url, sent) for name, sent in asked.items()}
    wrong = {name: (taken(asked[name]), *said) for name, said in found.items() if not agrees(taken(asked[name]), *said)}
    assert wrong == {}
