"""An agent put together for simulated Ollamas that listen on loopback, as `serve` and mitmproxy do it."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver

from spoe_agent.agent.ending import Ending, Line
from spoe_agent.agent.keeper import IDLE_S
from spoe_agent.agent.statefile import dump, parse
from spoe_agent.assemble import assemble
from spoe_agent.fleet import load, loads
from spoe_agent.routing import Action, Candidate, Choice, Dialect, Health, Kind, Reason, RequestFacts
from spoe_agent.routing.names import canonical
from spoe_agent.simulator.catalog import Catalog, Model
from spoe_agent.simulator.server import SimulatedOllama
from tests.serving import until

A, B = canonical("a"), canonical("b")
BOX = "gpubox.example"


class Resolver(AbstractResolver):
    """Every name is this host's: what /etc/hosts would do."""

    async def resolve(self, host, port=0, family=socket.AF_INET):
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0}]

    async def close(self):
        pass


@asynccontextmanager
async def ollama(*models, catalog=None):
    catalog = catalog or Catalog([Model(name, 300_000_000) for name in models])
    server = SimulatedOllama(catalog=catalog, time_scale=100.0)
    port = await server.start()
    try:
        yield port
    finally:
        await server.stop()


async def test_polls_probes_and_unloads_are_let_in_where_requests_are(tmp_path):
    """An Ollama on loopback answers 403 to a name that it does not know, and HAProxy calls it localhost."""
    async with (
        ollama("a") as port,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Resolver())) as session,
    ):
        (tmp_path / "fleet.yaml").write_text(f"instances: [{{name: g0, url: 'http://{BOX}:{port}'}}]")
        parts = await assemble(load(tmp_path / "fleet.yaml"), session)
        state = parts.board.state("g0")
        assert (state.health, set(state.installed)) == (Health.UP, {A})
        parts.watch.health["g0"].stalled("a is silent", False, 0.0)
        await parts.watch.probe(parts.watch.health["g0"])
        await parts.agent.unloading.make_room(
            Choice(Action.ROUTE, Reason.EVICT, "g0", candidates=(Candidate("g0", victims=(A,)),))
        )
        async with session.get(f"http://127.0.0.1:{port}/sim/requests") as answer:
            seen = (await answer.json())["requests"]
    assert [request["path"] for request in seen if request["method"] == "POST"] == ["/api/generate"] * 2
    assert {(request["host"], request["status"]) for request in seen} == {("localhost", 200)}


async def test_a_model_in_use_is_kept_loaded_by_a_request_without_a_prompt():
    """Its time is set anew, and nobody takes that for another's request."""
    async with ollama("a") as port, aiohttp.ClientSession() as session:
        one = {"model": "a", "prompt": "hi", "stream": False, "keep_alive": "1000s", "options": {"num_ctx": 512}}
        async with session.post(f"http://127.0.0.1:{port}/api/generate", json=one) as answer:
            assert answer.status == 200
        moments = [1000.0]
        of = loads(f"instances: [{{name: g0, url: 'http://127.0.0.1:{port}'}}]")
        parts = await assemble(of, session, clock=lambda: moments[-1])
        parts.agent.learner.arrived(A, 1000.0)
        before = parts.board.state("g0").loaded[A]
        await parts.keep_loaded(before.expires_at_s - 500.0)
        moments.append(1000.0 + IDLE_S)
        await parts.keep_loaded(before.expires_at_s - 10.0)
        await parts.ollamas.refresh()
        after = parts.board.state("g0")
        async with session.get(f"http://127.0.0.1:{port}/sim/requests") as answer:
            seen = (await answer.json())["requests"]
    assert after.loaded[A].expires_at_s > before.expires_at_s and after.loaded[A].context_length == 512
    assert not after.others
    assert [request["path"] for request in seen if request["method"] == "POST"] == ["/api/generate"] * 2


FLEET = """
instances: {}
models: {}
callers: [{{caller: x, weight: {}}}]
policies: {{hold_timeout: 60s, poll: {{interval: 100ms, tags_interval: {}}}}}
"""


def fleet(ports, models="[]", weight=1, tags_interval="200ms"):
    instances = [{"name": f"g{number}", "url": f"http://127.0.0.1:{port}"} for number, port in ports.items()]
    return loads(FLEET.format(json.dumps(instances), models, weight, tags_interval))


def asks(request_id, model):
    return RequestFacts(request_id, Kind.INFERENCE, Dialect.OLLAMA).naming(model)


@asynccontextmanager
async def running(of):
    async with aiohttp.ClientSession() as session:
        parts = await assemble(of, session)
        task = asyncio.ensure_future(parts.run())
        try:
            yield parts
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_an_instance_comes_with_its_readings_and_what_runs_stays():
    """No instant without an answer: a new one is in force when its lists are known."""
    async with ollama("a") as one, ollama("b") as other, running(fleet({0: one})) as parts:
        first = parts.agent.decide(asks("r1", "a"))
        assert (first.instance, parts.agent.decide(asks("r2", "b")).status) == ("g0", 404)
        health = parts.watch.health["g0"]
        await parts.adopt(fleet({0: one, 1: other}))
        assert parts.agent.decide(asks("r3", "b")).instance == "g1"
        assert (parts.board.find("r1").instance, parts.watch.health["g0"]) == ("g0", health)
        await parts.adopt(fleet({1: other}))
        assert (parts.agent.decide(asks("r4", "a")).status, set(parts.watch.health)) == (404, {"g1"})
        # Its last request ends all the same.
        parts.watch.ended(Line("r1", "g0", Ending(0.1, 0.2, is_whole=True)))
        assert parts.board.grants == 1


async def test_an_instance_that_moved_is_another_server():
    async with ollama("a") as one, ollama("b") as other, running(fleet({0: one})) as parts:
        parts.watch.drain("g0")
        await parts.adopt(fleet({0: other}))
        assert set(parts.board.state("g0").installed) == {canonical("b")}
        assert parts.watch.drained == frozenset({"g0"})


async def test_who_is_gone_is_polled_no_more_and_who_stays_is():
    async with ollama("a") as one, ollama("b") as other, running(fleet({0: one, 1: other})) as parts:
        await parts.adopt(fleet({1: other}))
        assert parts.board.state("g0").installed == {}
        read_at_s = parts.board.state("g1").loaded_at_s
        async with asyncio.timeout(20):
            while parts.board.state("g1").loaded_at_s == read_at_s:
                await asyncio.sleep(0.01)
        assert parts.board.state("g0").loaded_at_s is None


async def test_who_refuses_requests_is_down_before_a_poll_finds_it():
    async with ollama("a") as one, running(fleet({0: one})) as parts:
        for number in range(2):
            parts.agent.decide(replace(asks(f"r{number}", "a"), tried=("g0",)))
        assert parts.board.state("g0").health is Health.DOWN


async def test_rules_and_weights_hold_at_once_for_who_is_held():
    pinned = "[{match: a, instances: [g1], max_concurrent: 1}]"
    async with ollama("a") as one, ollama("a") as other, running(fleet({0: one, 1: other}, pinned)) as parts:
        granted = []
        assert parts.agent.decide(asks("r1", "a")).instance == "g1"
        assert parts.agent.decide(asks("r2", "a")).action is Action.HOLD
        assert parts.agent.ask("r2", lambda choice, request: granted.append((request.request_id, choice.instance)))
        await parts.adopt(fleet({0: one, 1: other}, "[{match: a, instances: [g0]}]", weight=2))
        assert granted == [("r2", "g0")]


def with_models(*names):
    return SimulatedOllama(catalog=Catalog([Model(name, 300_000_000) for name in names]), time_scale=100.0)


async def test_an_instance_that_is_started_anew_comes_back_with_its_models():
    """Over real sockets: it dies, another server listens there, and what was loaded is loaded before anybody asks."""
    first = with_models("a", "b")
    port = await first.start()
    of = loads(f"instances: [{{name: g0, url: 'http://127.0.0.1:{port}'}}]\npolicies: {{poll: {{interval: 50ms}}}}")
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        for model in ("a", "b"):
            async with session.post(f"http://127.0.0.1:{port}/api/generate", json={"model": model}) as answer:
                assert answer.status == 200
        parts = await assemble(of, session)
        running = tasks.create_task(parts.run())
        await until(lambda: set(parts.board.state("g0").loaded) == {A, B})
        assert parts.kept().loaded.keys() == {"g0"}
        await first.stop()
        await until(lambda: not parts.board.state("g0").loaded)
        second = with_models("a", "b")
        await second.start(port=port)
        await until(lambda: set(parts.board.state("g0").loaded) == {A, B})
        assert parts.board.state("g0").others == {}
        await until(lambda: parts.board.grants == 0)
        async with session.get(f"http://127.0.0.1:{port}/sim/stats") as answer:
            assert set((await answer.json())["loads"].values()) == {1}
        running.cancel()
        await second.stop()


@pytest.mark.parametrize("passes", range(10))
async def test_a_load_that_is_cut_off_leaves_nothing_in_flight_and_is_to_be_loaded_yet(passes):
    """However far it came: of the loop's passes until the load is asked for, after each."""
    server = SimulatedOllama(catalog=Catalog([Model("a", 30_000_000_000)]), time_scale=1.0)
    port = await server.start()
    of = loads(f"instances: [{{name: g0, url: 'http://127.0.0.1:{port}'}}]\nmodels: [{{match: a, instances: [g0]}}]")
    async with aiohttp.ClientSession() as session:
        parts = await assemble(of, session)
        running = asyncio.ensure_future(parts.run())
        for _ in range(passes):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])
        assert parts.board.grants == 0
        assert parts.kept().to_load["g0"].models == [A]
    await server.stop()


async def test_a_load_of_our_own_gives_way_to_a_request_for_another_model():
    server = SimulatedOllama(catalog=Catalog([Model("a", 30_000_000_000), Model("b", 300_000_000)]), time_scale=1.0)
    port = await server.start()
    of = loads(f"instances: [{{name: g0, url: 'http://127.0.0.1:{port}'}}]\nmodels: [{{match: a, instances: [g0]}}]")
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        parts = await assemble(of, session)
        running = tasks.create_task(parts.run())
        await until(lambda: A in parts.board.activity("g0").loading)
        choice = parts.agent.decide(RequestFacts("r", Kind.INFERENCE, Dialect.OLLAMA, B))
        assert choice.action is Action.ROUTE
        async with session.post(f"http://127.0.0.1:{port}/api/generate", json={"model": "b"}) as answer:
            assert answer.status == 200
        await until(lambda: parts.board.grants == 1)  # the request's, whose end nobody has told
        running.cancel()
    await server.stop()


async def test_the_next_agent_knows_what_models_are_like_from_the_first_second():
    async with ollama("a", "b") as port, aiohttp.ClientSession() as session:
        fleet = loads(f"instances: [{{name: g0, url: 'http://127.0.0.1:{port}'}}]")
        parts = await assemble(fleet, session)
        for _ in range(2):
            await parts.shown.look()
        shapes = parts.board.shapes
        assert shapes.keys() == {A, B} and all(shape.token_bytes for shape in shapes.values())
        after = await assemble(fleet, session)
        after.take(parse(dump(parts.kept()).encode()))
        assert after.board.shapes == shapes


async def test_what_one_of_a_store_is_seen_to_have_new_is_routed_to_all_of_it_within_a_poll():
    """A model that was pulled past the front, and seen because somebody asked for the list."""
    store = Catalog([Model("a", 300_000_000)])
    body = {"source": "a", "destination": "b"}
    async with (
        ollama(catalog=store) as one,
        ollama(catalog=store) as other,
        running(fleet({0: one, 1: other}, tags_interval="1h")) as of,
        aiohttp.ClientSession() as session,
    ):
        async with session.post(f"http://127.0.0.1:{other}/api/copy", json=body) as answer:
            assert answer.status == 200
        await of.look()
        assert B in of.board.state("g0").installed
        await until(lambda: B in of.board.state("g1").installed)
        # And not again with each poll.
        seen = of.board.state("g1")
        await until(lambda: of.board.state("g1").loaded_at_s > seen.loaded_at_s)
        assert of.board.state("g1").installed_at_s == seen.installed_at_s
