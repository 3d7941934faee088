"""The admin port: the status of a live agent, and what may be done by hand."""

import asyncio
import io
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import ClientSession, encode_basic_auth, web
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from spoe_agent.admin.app import Admin
from spoe_agent.admin.reload import Reloader
from spoe_agent.admin.status import status
from spoe_agent.admin.table import tables
from spoe_agent.agent.agent import Agent
from spoe_agent.agent.board import Board
from spoe_agent.agent.ending import Ending, Line
from spoe_agent.fleet import HealthPolicy, Listen, loads, specs
from spoe_agent.fleet.file import EditedFile
from spoe_agent.haproxy.contact import Contact
from spoe_agent.haproxy.limiter import Limiter
from spoe_agent.instances.lists import InstalledModel
from spoe_agent.instances.reading import PollResult, Reading
from spoe_agent.instances.watch import Watch
from spoe_agent.keys.entry import Key, hash_of
from spoe_agent.keys.file import change
from spoe_agent.keys.operators import NEEDS_MANAGE, Operators
from spoe_agent.metrics.exposition import Exposition
from spoe_agent.process.listening import bind
from spoe_agent.process.succession import Failed
from spoe_agent.rig.process import free_port
from spoe_agent.routing import Dialect, Kind, LoadedModel, RequestFacts
from spoe_agent.routing.names import canonical
from spoe_agent.routing.wishes import Wishes
from tests.metrics.rig import Gpus

FLEET = """
defaults: {num_parallel: 1, ollama: {max_loaded_models: 1}}
instances:
  - {name: g0, url: "http://127.0.0.1:11435"}
  - {name: g1, url: "http://127.0.0.1:11436"}
"""
A, B = canonical("a"), canonical("b")


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


class Bench:
    """An agent of two instances, with `a` loaded and in flight on g0 alone, and one request held."""

    def __init__(self):
        self.clock = Clock()
        fleet = loads(FLEET)
        self.agent = Agent(specs(fleet), Board(), self.nothing, clock=self.clock)
        self.watch = Watch(self.agent, HealthPolicy(), self.no_probe, clock=self.clock)
        self.watch.published("g0", self.reading({A: LoadedModel(10, 6, 4096)}))
        self.watch.published("g1", Reading(self.clock(), PollResult.SLOW, "no answer in time"))
        self.limiter = Limiter(fleet, self.agent, self.watch, clock=self.clock)
        self.contact = Contact(self.clock, self.clock, lambda _: None)
        self.gpus = Gpus()
        self.agent.decide(RequestFacts("r1", Kind.INFERENCE, Dialect.OLLAMA, wishes=Wishes("g0")).naming("a"))

        self.can_keep, self.kept = True, []
        self.does_ask, self.asked = True, []
        self.reloader, self.successor = None, 4711

    def keep(self):
        self.kept.append(self.watch.drained)
        return self.can_keep

    async def told(self, instance):
        self.asked.append(instance)
        return self.does_ask

    def reading(self, loaded):
        return Reading(self.clock(), loaded=loaded, installed={A: InstalledModel(10)}, version="0.33.0")

    async def nothing(self):
        pass

    async def no_probe(self, instance, what, deadline_s):
        return ""

    async def restart(self):
        if self.successor is None:
            raise Failed("the new agent did not become ready")
        return self.successor

    async def bring_back(self, instance, models):
        self.agent.preload.came_up(instance, models, self.clock(), even_drained=True)

    async def answer(self):
        return self.status()

    def status(self):
        return status(self, self.limiter, self.contact, 90.0, self.clock())


@asynccontextmanager
async def served(bench, fleet=None):
    metrics = Exposition(bench, bench.limiter, bench.contact, bench.clock)
    by_hand = bench.keep, bench.told, bench.reloader, bench.restart, bench.bring_back
    admin, listen = (
        Admin(
            bench.agent,
            bench.watch,
            bench.answer,
            *by_hand,
            metrics,
            lambda: ["agent.lan"],
            web.Application(),
            Operators(lambda: fleet or loads(FLEET)),
        ),
        Listen("127.0.0.1", free_port()),
    )
    await admin.listen(bind(listen))
    try:
        async with ClientSession(f"http://{listen}") as session:
            yield session
    finally:
        await admin.close()


OPERATORS = {
    "nobody": ({}, 401),
    "a wrong key": ({"Authorization": "Bearer pm-x"}, 401),
    "a key for models": ({"Authorization": "Bearer models"}, 401),
    "one to manage": ({"Authorization": "Bearer manages"}, 200),
    "in x-api-key": ({"x-api-key": "manages"}, 200),
    "a browser's": ({"Authorization": encode_basic_auth("anybody", "manages")}, 200),
    "one to manage, from a foreign page": ({"Authorization": "Bearer manages", "Origin": "http://evil.example"}, 403),
}


@pytest.mark.parametrize("case", OPERATORS)
async def test_where_a_key_is_asked_for_it_must_be_an_operators(tmp_path, case):
    file = tmp_path / "keys.json"
    made = Key(name="a", hash=hash_of("models")), Key(name="b", hash=hash_of("manages"), manage=True)
    change(file, lambda _: made)
    headers, status = OPERATORS[case]
    async with served(Bench(), loads(f"{FLEET}keys: {{file: {file}, admin: true}}")) as session:
        for method, path in (("GET", "/status"), ("GET", "/metrics"), ("POST", "/instances/g0/drain")):
            async with session.request(method, path, headers=headers) as answer:
                assert answer.status == status, path
                if status == 401:
                    assert answer.headers["WWW-Authenticate"].startswith("Basic")
                    assert ((await answer.json())["error"] == NEEDS_MANAGE) is (case == "a key for models")


HOSTS = {"localhost:9604": 200, "127.0.0.1": 200, "agent.lan:9604": 200, "evil.example": 403, "evil.example:9604": 403}


@pytest.mark.parametrize(("host", "expected"), HOSTS.items())
async def test_pages_do_not_get_in_by_a_name_of_their_own(host, expected):
    async with served(Bench()) as session, session.get("/status", headers={"Host": host}) as answer:
        assert answer.status == expected


def test_the_status_of_an_instance():
    bench = Bench()
    bench.clock.now_s += 2.5
    found = bench.status()
    assert (found["up_s"], found["grants"]) == (12.5, 1)
    first, second = found["instances"]
    assert (first["name"], first["health"], first["since_s"], first["evidence"]) == ("g0", "up", 2.5, "lists answer")
    assert first["in_flight"] == {"a:latest": 1}
    loaded = {"model": "a:latest", "size_bytes": 10, "vram_bytes": 6, "context_length": 4096, "slots": 1}
    assert first["loaded"] == [loaded]
    assert first["note"] == "a:latest is partly on the CPU"
    assert first["connections"] == {"limit": 1, "configured": 1}
    assert (second["health"], second["note"]) == ("unknown", "in transition: no answer in time")


@pytest.mark.parametrize(
    ("on_gpu", "note"),
    [
        (6, "a:latest: the GPUs would hold all of it; unloaded as soon as it is idle"),
        (0, "has a:latest on the CPU alone: Ollama has lost its GPUs; start it again"),
        (10, ""),
    ],
)
def test_what_is_on_the_cpu_without_need_is_named(on_gpu, note):
    bench = Bench()
    roomy = loads(FLEET.replace("num_parallel: 1", "num_parallel: 1, vram: 24GiB"))
    bench.agent.adopt(specs(roomy))
    bench.watch.adopt(HealthPolicy(), ())
    bench.watch.published("g0", bench.reading({A: LoadedModel(10, on_gpu, 4096)}))
    assert bench.status()["instances"][0]["note"].startswith(note)
    assert bool(bench.status()["instances"][0]["note"]) is bool(note)


def test_lists_that_differ_within_a_store_are_named():
    """Perhaps they share none, and the fleet file does not say so."""
    bench = Bench()
    bench.watch.published("g1", replace(bench.reading({}), installed={B: InstalledModel(5)}))
    first, second = bench.status()["instances"]
    assert first["store"] == second["store"]
    assert "does not list b:latest as g1 does: give each its own `store` if they share none" in first["note"]
    assert second["note"] == "does not list a:latest as g0 does: give each its own `store` if they share none"


def shown(bench):
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(tables(bench.status()))
    return console.export_text()


def test_models_that_must_go_and_the_one_they_go_for():
    bench = Bench()
    first, second = bench.status()["instances"]
    assert [(one["leaving"], one["reserved"]) for one in (first, second)] == [([], None)] * 2
    assert not any(sign in shown(bench) for sign in ("-a:latest", "->"))
    bench.agent.board.reserve("g0", canonical("b"), (A,))
    first, second = bench.status()["instances"]
    assert (first["leaving"], first["reserved"]) == (["a:latest"], "b:latest")
    assert (second["leaving"], second["reserved"]) == ([], None)
    assert "-a:latest" in shown(bench)
    assert "-> b:latest" in shown(bench)


def test_held_requests_are_listed_with_their_age():
    bench = Bench()
    bench.agent.fleet = specs(loads(FLEET))
    for number in range(3):
        bench.agent.decide(RequestFacts(f"h{number}", Kind.INFERENCE, Dialect.OLLAMA, caller="10.0.0.5").naming("a"))
    bench.clock.now_s += 3
    hold = bench.status()["hold"]
    assert hold["length"] == len(hold["requests"])
    for position, one in enumerate(hold["requests"]):
        assert (one["position"], one["model"], one["caller"], one["age_s"]) == (position, "a:latest", "10.0.0.5", 3.0)
    for log_caller, told in (("hash", "0546412D61BA57F1"), ("none", "")):
        bench.agent.record.rows.log_caller = log_caller
        assert {one["caller"] for one in bench.status()["hold"]["requests"]} == {told}


def test_it_is_shown_to_people():
    text = shown(Bench())
    assert "a:latest is partly on the CPU" in text
    assert "1 of 1" in text
    assert text.startswith("pointsman ")
    assert "HAProxy has not asked yet" in text


def test_requests_that_went_by_stand_above_all():
    bench = Bench()
    bench.clock.now_s += 60
    line = Line("r", "g0", Ending(0.1, 0.2, is_whole=True), begun_at_s=bench.clock(), fell_back=True, spoe_error="257")
    bench.contact.ended(line)
    bench.clock.now_s += 3
    text = shown(bench)
    assert text.startswith(
        "WARNING: HAProxy has never asked this agent, although it sends log lines: 1 request went on"
    )
    assert "HAProxy has not asked yet; 1 request fell back, the first 3 s ago, the last 3 s ago" in text
    assert bench.status()["haproxy"]["fell_back"] == 1
    bench.contact.asked("1-a")
    bench.contact.asked("2-b")
    assert "HAProxy asked 0 s ago, 2 processes; 1 request fell back" in shown(bench)


async def test_metrics_over_http():
    async with served(Bench()) as session, session.get("/metrics") as answer:
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        found = {one.name: one for one in text_string_to_metric_families(await answer.text())}
    (decisions,) = found["pointsman_decisions"].samples
    assert (decisions.labels, decisions.value) == ({"action": "route", "reason": "loaded", "instance": "g0"}, 1)


async def test_drain_and_ready_over_http():
    bench = Bench()
    async with served(bench) as session:
        async with session.post("/instances/g0/drain") as answer:
            assert answer.status == 200
            done = {"name": "g0", "health": "drained", "kept": True, "told": True, "said": []}
            assert await answer.json() == done
        assert bench.limiter.answer("g0") == "up ready 0% maxconn:1"
        async with session.get("/status") as answer:
            assert (await answer.json())["instances"][0]["health"] == "drained"
        async with session.post("/instances/g0/ready") as answer:
            assert (await answer.json())["health"] == "up"
    assert (bench.kept, bench.asked) == ([{"g0"}, set()], ["g0", "g0"])


@pytest.mark.parametrize(
    ("can_keep", "does_ask", "said"),
    [(False, True, "Until the agent restarts"), (True, False, "HAProxy does not know")],
)
async def test_it_says_what_a_restart_or_haproxy_would_not_know(can_keep, does_ask, said):
    bench = Bench()
    bench.can_keep, bench.does_ask = can_keep, does_ask
    async with served(bench) as session, session.post("/instances/g0/drain") as answer:
        done = await answer.json()
    assert (done["health"], done["kept"], done["told"]) == ("drained", can_keep, does_ask)
    (line,) = done["said"]
    assert line.startswith(said)


async def test_reload_and_undo_over_http(tmp_path):
    bench, file = Bench(), EditedFile(tmp_path / "fleet.yaml")
    file.path.write_text(FLEET)
    adopted = []

    async def adopt(fleet):
        adopted.append(len(fleet.instances))

    bench.reloader = Reloader(file, file.read(), file.read().fleet, adopt)
    async with served(bench) as session:
        file.path.write_text("instances: 7\n")
        async with session.post("/reload") as answer:
            assert answer.status == 409
            assert "fleet.yaml:1: instances: " in (await answer.json())["error"]
        file.path.write_text(FLEET.replace("g1", "g2"))
        async with session.post("/reload") as answer:
            assert (await answer.json())["changed"] == ["instance g2 added", "instance g1 removed"]
        for name, undone in (("other", False), ("", True), ("", False)):
            async with session.post("/reload/undo", params={"name": name}) as answer:
                assert (await answer.json()) == {"undone": undone}
    assert adopted == [2, 2]


async def test_restart_over_http():
    bench = Bench()
    async with served(bench) as session:
        async with session.post("/restart") as answer:
            assert (answer.status, await answer.json()) == (200, {"pid": 4711})
        bench.successor = None
        async with session.post("/restart") as answer:
            assert answer.status == 409
            assert (await answer.json())["error"].endswith("did not become ready")


@pytest.mark.parametrize("what", ["drain", "preload"])
async def test_who_is_not_there_is_named(what):
    async with served(Bench()) as session, session.post(f"/instances/g9/{what}", json={"models": []}) as answer:
        assert answer.status == 404
        assert (await answer.json())["error"] == "there is no instance g9; instances are g0, g1"


async def test_what_an_instance_is_to_load_again_is_in_the_status():
    bench = Bench()
    async with served(bench) as session:
        async with session.post("/instances/g1/preload", json={"models": ["b"]}) as answer:
            assert answer.status == 200
        async with session.get("/status") as answer:
            assert [one["preloading"] for one in (await answer.json())["instances"]] == [[], ["b:latest"]]


@pytest.mark.parametrize("body", [None, [], {"models": 1}, {"models": [1]}, {"models": ["no name:"]}], ids=str)
async def test_a_body_that_names_no_models_is_refused(body):
    async with served(Bench()) as session, session.post("/instances/g1/preload", json=body) as answer:
        assert answer.status == 400


@pytest.mark.parametrize("path", ["/status", "/metrics", "/instances/g0/drain"])
async def test_pages_are_refused(path):
    bench = Bench()
    async with served(bench) as session:
        async with session.post(path, headers={"Origin": "https://evil.example"}) as answer:
            assert answer.status in (403, 405)
        assert bench.status()["instances"][0]["health"] == "up"
    await asyncio.sleep(0)
