"""The dashboard over HTTP: what its answers carry, what they say, and who does not read."""

import asyncio
import json
import socket
import sys

import pytest
from aiohttp import ClientSession

from spoe_agent.admin import explain
from spoe_agent.admin.wording import worded
from spoe_agent.dashboard.broadcast import MAX_VIEWERS
from tests.dashboard.stage import Stage, busy
from tests.serving import DEADLINE_S


async def scenes(session, url, count):
    async with session.get(f"{url}/dashboard/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for _ in range(count):
            text = (await answer.content.readuntil(b"\n\n")).decode()
            yield json.loads(text.removeprefix("data: "))


@pytest.mark.parametrize(
    ("path", "kind"),
    [("", "text/html"), ("main.js", "text/javascript"), ("style.css", "text/css"), ("icon.svg", "image/svg+xml")],
)
async def test_the_page_is_whole_and_runs_nothing_of_others(path, kind):
    async with Stage().serving() as url, ClientSession() as session:
        async with session.get(f"{url}/dashboard/{path}") as answer:
            assert (answer.status, answer.content_type) == (200, kind)
            policy, text = answer.headers["content-security-policy"], await answer.text()
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        assert "http://" not in text.replace("http://www.w3.org/", "") and "https://" not in text


async def test_the_root_leads_there_and_what_is_not_there_is_not():
    async with Stage().serving() as url, ClientSession() as session:
        async with session.get(url) as answer:
            assert (answer.status, answer.url.path) == (200, "/dashboard/")
        for path in ("app.py", "../app.py", "%2e%2e/app.py", "main.js/"):
            async with session.get(f"{url}/dashboard/{path}") as answer:
                assert answer.status == 404


async def test_scenes_come_one_after_another():
    stage = Stage(3, tick_s=0.01)
    busy(stage)
    async with stage.serving() as url, ClientSession() as session:
        found = [scene async for scene in scenes(session, url, 3)]
    assert [len(one["instances"]) for one in found] == [3, 3, 3]
    assert found[0]["trend"] == 12
    assert found[0]["decisions"]


async def test_a_decision_in_the_words_of_pointsman_explain():
    stage = Stage(2)
    stage.reads("gpu0", "mistral:7b")
    request_id, _ = stage.asks("mistral:7b")
    words = worded(explain.would(stage.agent, "mistral:7b"))
    async with stage.serving() as url, ClientSession() as session:
        async with session.get(f"{url}/dashboard/explained", params={"model": "mistral:7b"}) as answer:
            found = await answer.json()
            assert (found["headline"], found["rows"]) == (words.headline, [list(row) for row in words.rows])
        async with session.get(f"{url}/dashboard/explained", params={"id": request_id}) as answer:
            assert "went to gpu0: it is loaded there." in (await answer.json())["headline"]
        async with session.get(f"{url}/dashboard/explained", params={"id": "nobody's"}) as answer:
            assert answer.status == 404
        async with session.get(f"{url}/dashboard/explained", params={"model": "no name:"}) as answer:
            assert answer.status == 400


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/status", 200),
        ("/metrics", 200),
        ("/explain?last=1", 200),
        ("/explain?id=x", 404),
        ("/dashboard/", 200),
        ("/dashboard/main.js", 200),
        ("/dashboard/events", 200),
        ("/nowhere", 404),
    ],
)
async def test_no_answer_is_for_another_page(path, status):
    async with Stage(1).serving() as url, ClientSession() as session, session.get(url + path) as answer:
        assert answer.status == status
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(("origin", "status"), [("{url}", 200), ("http://evil.example", 403), ("null", 403)])
async def test_its_own_page_may_drain_and_no_other(origin, status):
    stage = Stage(2)
    async with stage.serving() as url, ClientSession() as session:
        headers = {"Origin": origin.format(url=url)}
        async with session.post(f"{url}/instances/gpu0/drain", headers=headers) as answer:
            assert answer.status == status
    assert stage.watch.health["gpu0"].is_drained is (status == 200)


async def test_who_does_not_read_is_let_go_and_costs_the_others_nothing():
    stage = Stage(64, tick_s=0.001, reads_within_s=2.0)
    busy(stage)
    async with stage.serving() as url, ClientSession() as session:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", stage.listen.port))
            deaf.sendall(b"GET /dashboard/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            viewers = []
            async with asyncio.timeout(DEADLINE_S):
                async for _ in scenes(session, url, sys.maxsize):
                    viewers.append(stage.dashboard.broadcast.viewers)
                    if 2 in viewers and viewers[-1] == 1:
                        break
        assert viewers[-1] == 1


async def test_very_many_are_too_many():
    stage = Stage(1)
    async with stage.serving() as url, ClientSession() as session:
        events = f"{url}/dashboard/events"
        answers = await asyncio.gather(*(session.get(events) for _ in range(MAX_VIEWERS + 6)))
        assert sorted(one.status for one in answers) == [200] * MAX_VIEWERS + [503] * 6
        for one in answers:
            if one.status == 503:
                assert "64 watch already" in (await one.json())["error"]
            one.close()
    await asyncio.sleep(0)
