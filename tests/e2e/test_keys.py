"""Keys at real front ends: who comes in, with what, and what the others are told."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.haproxy.contract import APPLY_ID, APPLY_PATH
from spoe_agent.keys.file import change
from spoe_agent.rig.stack import Stack
from tests.e2e.conftest import chat, seen_by, until
from tests.e2e.keyed import FORMS, KEYS, SECRETS, Form, bearer, keyed, made
from tests.e2e.operator import status as told

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.both_fronts]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def locked(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with keyed(binary, tmp_path_factory.mktemp("keyed")) as running:
        yield running


NOBODY = {"missing": "no key", "wrong": "unknown key", "revoked": "unknown key", "expired": "expired key"}
SENT = {"missing": "", "wrong": "pm-made-up", "revoked": SECRETS["gone"], "expired": SECRETS["expired"]}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize("case", NOBODY)
async def test_nobody_comes_in_without_a_good_key(
    locked: Stack, session: aiohttp.ClientSession, form: Form, case: str
) -> None:
    before = [await seen_by(session, locked, number) for number in range(2)]
    for path in ("/api/chat", "/v1/chat/completions", "/v1/messages"):
        async with session.post(locked.url + path, json=chat("alpha"), headers=form.headers(SENT[case])) as answer:
            told = await answer.json()
            assert (answer.status, answer.headers["x-pointsman"]) == (401, f"- {NOBODY[case]}")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        if path != "/api/chat":
            assert told["error"]["type"] == "authentication_error"
    for method, path in (("GET", "/"), ("GET", "/api/tags"), ("POST", "/api/pull"), ("DELETE", "/nowhere")):
        async with session.request(method, locked.url + path, headers=form.headers(SENT[case])) as answer:
            assert answer.status == 401
    assert [await seen_by(session, locked, number) for number in range(2)] == before


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
async def test_who_has_a_key_comes_in_and_ollama_never_sees_it(
    locked: Stack, session: aiohttp.ClientSession, form: Form
) -> None:
    headers = {**form.headers(SECRETS["all"]), "X-Request-Id": f"in-{form.name}"}
    async with session.post(f"{locked.url}/api/chat", json=chat("alpha", stream=False), headers=headers) as answer:
        assert answer.status == 200
    seen = [one for number in range(2) for one in await seen_by(session, locked, number)]
    (mine,) = [one for one in seen if one["request_id"] == f"in-{form.name}"]
    names: Any = mine["headers"]
    assert not {"authorization", "x-api-key", "proxy-authorization"} & {name.lower() for name in names}


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_need_none(locked: Stack, session: aiohttp.ClientSession, path: str) -> None:
    async with session.get(locked.url + path) as answer:
        assert answer.status == 200


async def test_a_preflight_has_no_key_and_needs_none(locked: Stack, session: aiohttp.ClientSession) -> None:
    headers = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    async with session.options(f"{locked.url}/api/chat", headers=headers) as answer:
        assert answer.status == 204
    async with session.post(f"{locked.url}/api/chat", json=chat("alpha"), headers=headers) as answer:
        assert answer.status == 401
        assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"


LISTS = {"/api/tags": ("models", "name"), "/v1/models": ("data", "id"), "/api/ps": ("models", "name")}


@pytest.mark.parametrize("path", LISTS)
async def test_lists_show_what_the_key_may_use(locked: Stack, session: aiohttp.ClientSession, path: str) -> None:
    for model in ("alpha", "secret"):
        async with session.post(
            f"{locked.url}/api/chat", json=chat(model, stream=False), headers=bearer("all")
        ) as answer:
            assert answer.status == 200
    found = {}
    of, name = LISTS[path]

    async def names(who: str, **more: str) -> set[str]:
        async with session.get(locked.url + path, headers={**bearer(who), **more}) as answer:
            assert answer.status == 200
            return {one[name] for one in (await answer.json())[of] or ()}

    async def is_listed() -> bool:
        return "secret:latest" in await names("all")

    await until(is_listed, 10, "what is loaded is listed")
    found = await names("some")
    assert "secret:latest" not in found and "alpha:latest" in found
    # Nor by way of one instance's own list.
    assert "secret:latest" not in await names("some", **{"x-pointsman-instance": "gpu0"})


async def test_concurrent_requests_are_as_many_as_the_key_may_have(
    locked: Stack, session: aiohttp.ClientSession
) -> None:
    """Of 64 at once three run, and when these have ended, others come in."""
    ask = chat("alpha", options={"num_predict": 40_000})

    async def begun() -> aiohttp.ClientResponse:
        return await session.post(f"{locked.url}/api/chat", json=ask, headers=bearer("few"))

    answers = await asyncio.gather(*(begun() for _ in range(64)))
    turned_away = [one for one in answers if one.status == 429]
    assert sorted(one.status for one in answers if one not in turned_away) == [200] * KEYS["few"]["concurrent"]
    assert {(one.headers["Retry-After"], one.headers["x-pointsman"]) for one in turned_away} == {("1", "- too many")}
    for answer in answers:
        answer.close()

    async def comes_in() -> bool:
        async with session.post(f"{locked.url}/api/chat", json=chat("alpha"), headers=bearer("few")) as answer:
            return answer.status == 200

    await until(comes_in, 10, "there is room again")


async def test_requests_of_a_minute_are_as_many_as_the_key_may_make(
    locked: Stack, session: aiohttp.ClientSession
) -> None:
    """64 at once: of two minutes of the clock at most."""

    async def one() -> tuple[int, str]:
        async with session.get(f"{locked.url}/api/version", headers=bearer("slow")) as answer:
            return answer.status, answer.headers.get("Retry-After", "")

    found = await asyncio.gather(*(one() for _ in range(64)))
    assert KEYS["slow"]["rpm"] <= [status for status, _ in found].count(200) <= 2 * KEYS["slow"]["rpm"]
    assert all(status == 429 and 1 <= int(after) <= 60 for status, after in found if status != 200)


@pytest.mark.haproxy
async def test_who_is_revoked_is_out_at_once_and_their_stream_goes_on(
    locked: Stack, session: aiohttp.ClientSession
) -> None:
    file = Path(locked.fleet.keys.file if locked.fleet.keys else "")
    change(file, lambda _: made(**KEYS, more={}))

    async def status() -> int:
        async with session.get(f"{locked.url}/api/version", headers=bearer("more")) as answer:
            return answer.status

    async def comes_in() -> bool:
        return await status() == 200

    async def is_out() -> bool:
        return await status() == 401

    await until(comes_in, 10, "a new key is known")
    ask = chat("alpha", options={"num_predict": 100_000})
    async with session.post(f"{locked.url}/api/chat", json=ask, headers=bearer("more")) as stream:
        await stream.content.readline()
        change(file, lambda _: made(**KEYS))
        await until(is_out, 10, "a revoked key is refused")
        # It takes 20 s, so it was not over before.
        assert [one["in_flight"] for one in (await told(session, locked))["instances"] if one["in_flight"]]


@pytest.mark.haproxy
async def test_no_secret_is_in_any_log_or_file(locked: Stack) -> None:
    for path in locked.folder.rglob("*"):
        if path.is_file():
            text = path.read_bytes()
            assert not [name for name, secret in SECRETS.items() if secret.encode() in text], path


def _alone(locked: Stack) -> bool:
    return "Server pointsman_agent/agent1 is DOWN" in locked.haproxy.output.read_text()


ALPHA, SECRET = (json.dumps(chat(name, stream=False)) for name in ("alpha", "secret"))
ALONE = [
    ("all", "/api/chat", SECRET, 200),
    ("some", "/api/chat", ALPHA, 200),
    ("some", "/api/chat", json.dumps(chat("ALPHA:latest", stream=False)), 200),
    ("some", "/api/chat", json.dumps(chat("beta:7b", stream=False)), 200),
    ("some", "/v1/chat/completions", ALPHA, 200),
    ("some", "/api/chat", SECRET, 404),
    ("some", "/v1/messages", SECRET, 404),
    ("some", "/api/show", '{"model": "secret"}', 404),
    ("some", "/api/chat", json.dumps(chat("registry.ollama.ai/library/secret")), 404),
    ("some", "/api/chat", json.dumps(chat("alphabet")), 404),
    ("some", "/api/chat", '{"model": "alpha secret"}', 404),
    ("some", "/api/chat", f'{{"Model": "secret", {ALPHA[1:]}', 400),
    ("some", "/api/chat", f'{ALPHA[:-1]}, "MODEL"\n: "secret"}}', 400),
    ("some", "/api/chat", f'{ALPHA[:-1]}, "x": "\n\n\n", "model": "secret"}}', 400),
    ("some", "/api/chat", f'{ALPHA[:-1]}, "\\u006Dodel": "secret"}}', 400),
    ("some", "/api/chat", r'{"model": "\u0073ecret"}', 404),
    ("some", "/api/chat", '{"Model": "alpha"}', 503),
    ("some", "/api/chat", '{"x": {"model": "alpha"}}', 503),
    ("some", "/api/chat", '{"messages": []}', 503),
    ("some", "/api/show", '{"name": "alpha"}', 503),
    ("some", "/api/chat", f'{ALPHA[:-1]}, "x": "{"x" * 1_100_000}"}}', 503),
    ("expired", "/api/chat", ALPHA, 401),
    ("some", "/api/pull", '{"model": "alpha"}', 403),
    ("some", "/api/me", "{}", 404),
]
"""Whose key, what it asks, and what HAProxy alone says."""
FORM = (
    b'{"model": "alpha"}\r\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nsecret\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n--b--\r\n'
)
"""What comes before a form's first part is passed over (RFC 2046, 5.1.1)."""


@pytest.mark.haproxy
async def test_apply_sees_without_a_key_that_the_agent_is_asked(locked: Stack, session: aiohttp.ClientSession) -> None:
    for name, more in (("somebody-else", 0), (APPLY_ID, 1)):
        asked = (await told(session, locked))["haproxy"]["questions"]
        async with session.get(f"{locked.url}{APPLY_PATH}", headers={"X-Request-Id": name}) as answer:
            assert answer.status == 401
        assert (await told(session, locked))["haproxy"]["questions"] == asked + more


@pytest.mark.haproxy
async def test_without_the_agent_keys_hold_and_requests_are_served(
    locked: Stack, session: aiohttp.ClientSession
) -> None:
    locked.agent.signal(signal.SIGKILL)
    await locked.agent.wait()

    async def is_alone() -> bool:
        return _alone(locked)

    await until(is_alone, 10, "the agent is known to be dead")

    async def is_too_often() -> bool:
        async with session.post(f"{locked.url}/api/chat", json=chat("alpha"), headers=bearer("slow")) as answer:
            return answer.status == 429

    await until(is_too_often, 10, "a minute's requests are over")
    for who, path, ask, expected in ALONE:
        headers = {**bearer(who), "X-Model": "alpha"}
        async with session.post(locked.url + path, data=BytesIO(ask.encode()), headers=headers) as answer:
            assert (who, path, ask[:99], answer.status) == (who, path, ask[:99], expected), await answer.text()
    for model, expected in (("alpha", 200), ("secret", 404), ("SECRET:latest", 404)):
        async with session.get(f"{locked.url}/v1/models/{model}", headers=bearer("some")) as answer:
            assert answer.status == expected
    headers = {**bearer("some"), "Content-Type": "multipart/form-data; boundary=b"}
    async with session.post(f"{locked.url}/v1/audio/transcriptions", data=FORM, headers=headers) as answer:
        assert answer.status == 503
    for path in LISTS:
        async with session.get(locked.url + path, headers=bearer("some")) as answer:
            assert answer.status == 503
        async with session.get(locked.url + path, headers=bearer("all")) as answer:
            assert answer.status == 200
    async with session.delete(f"{locked.url}/api/delete", json={"model": "x"}, headers=bearer("all")) as answer:
        assert answer.status == 403
    ask = chat("alpha", options={"num_predict": 40_000})
    streams = [await session.post(f"{locked.url}/api/chat", json=ask, headers=bearer("few")) for _ in range(4)]
    assert [one.status for one in streams] == [200] * KEYS["few"]["concurrent"] + [429]
    at_once = await asyncio.gather(
        *(session.post(f"{locked.url}/api/chat", json=ask, headers=bearer("few")) for _ in range(64))
    )
    assert {one.status for one in at_once} == {429}
    for one in (*streams, *at_once):
        one.close()


SAID = {
    # what is said of whom a request is from, when it comes from a trusted proxy on an open network -> its status
    "nothing": ({}, 200),
    "somebody of that network": ({"X-Forwarded-For": "192.0.2.7"}, 200),
    "somebody of another": ({"X-Forwarded-For": "9.9.9.9"}, 401),
    "who knows": ({"X-Forwarded-For": "unknown"}, 401),
    "an address with a port in brackets": ({"X-Forwarded-For": "[2001:db8::1]:443"}, 401),
    "a hidden one": ({"Forwarded": "for=_gazonk"}, 401),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ajar(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("ajar")
    keys = {"file": str(folder / "keys" / "keys.json"), "open_networks": ["127.0.0.0/8", "192.0.2.0/24"]}
    async with keyed(binary, folder, keys=keys, policies={"trusted_proxies": ["127.0.0.0/8"]}) as running:
        yield running


@pytest.mark.parametrize(("said", "status"), SAID.values(), ids=SAID)
async def test_who_needs_no_key_behind_a_proxy(
    ajar: Stack, session: aiohttp.ClientSession, said: dict[str, str], status: int
) -> None:
    async with session.get(f"{ajar.url}/api/version", headers=said) as answer:
        assert answer.status == status
