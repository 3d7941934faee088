import asyncio

import pytest
from structlog.testing import capture_logs

from spoe_agent.agent.ending import Ending
from spoe_agent.fleet import loads
from spoe_agent.instances.lists import InstalledModel
from spoe_agent.mitmproxy.router import End, Router, connects
from spoe_agent.mitmproxy.slots import Slots
from spoe_agent.routing import Action, Dialect, Health, InstanceState, Kind, LoadedModel, RequestFacts
from spoe_agent.routing.estimates import service_s
from spoe_agent.routing.names import canonical
from tests.mitmproxy.parts import Lists, parts

M = canonical("m")
NOW_S = 100.0
FLEET = """
defaults: {{max_connections: 1}}
instances:
  - {{name: gpu0, url: "http://127.0.0.1:{}"}}
  - {{name: gpu1, url: "http://127.0.0.1:2"}}
models: {}
policies: {{queue_timeout: {}, hold_timeout: {}}}
"""


def text(port=1, models="[]", queue_timeout="1m", hold_timeout="1m"):
    return FLEET.format(port, models, queue_timeout, hold_timeout)


PINNED = "[{match: m, instances: [gpu0]}]"


class Rig:
    """A running router on readings that are published; m is loaded on gpu0."""

    def __init__(self, path):
        self.path, self.slots, self.now_s = path, Slots(), NOW_S
        self.refusing, self.used, self.unloaded = set(), [], []
        self.router = Router(self.assemble, self.connects, self.slots)

    async def assemble(self, fleet, session, learner):
        made = parts(fleet, lambda: self.now_s, learner, self.unload, self.lists)
        for name in ("gpu0", "gpu1"):
            lists = self.lists(name)
            sizes = {model: there.size_bytes for model, there in lists.tags.items()}
            made.board.publish(name, InstanceState(Health.UP, lists.ps, NOW_S, sizes, NOW_S))
        self.agent, self.board = made.agent, made.board
        return made

    def lists(self, name):
        return Lists({M: LoadedModel(1, 1)} if name == "gpu0" else {}, {M: InstalledModel(10**10)})

    async def unload(self, instance, model):
        self.unloaded.append((instance, model))

    async def connects(self, host, port):
        return port not in self.refusing

    async def start(self, fleet_text):
        self.path.write_text(fleet_text)
        self.task = asyncio.ensure_future(self.router.run(self.path, loads(fleet_text), self.used.append))
        await self.until(lambda: self.used)

    async def until(self, condition):
        async with asyncio.timeout(20):
            while not condition():
                assert not self.task.done(), self.task.exception()
                await asyncio.sleep(0.01)


@pytest.fixture
async def rig(tmp_path):
    running = Rig(tmp_path / "fleet.yaml")
    yield running
    running.task.cancel()
    await asyncio.wait([running.task])


def asks(request_id="r", model=M):
    return RequestFacts(request_id, Kind.INFERENCE, Dialect.OLLAMA, model)


def counts(rig):
    return rig.slots.taken("gpu0"), rig.slots.queued("gpu0"), rig.board.grants


async def test_from_route_to_leave(rig):
    await rig.start(text())
    passage = await rig.router.route(asks())
    assert (passage.choice.instance, passage.instance.url) == ("gpu0", "http://127.0.0.1:1")
    assert counts(rig) == (1, 0, 1)
    rig.router.leave("r")
    rig.router.leave("r")
    assert counts(rig) == (0, 0, 0)


async def test_a_rejection_has_no_address_and_takes_nothing(rig):
    await rig.start(text())
    passage = await rig.router.route(asks(model=canonical("nobody")))
    assert (passage.choice.status, passage.instance) == (404, None)
    assert counts(rig) == (0, 0, 0)


async def test_a_start_that_fails_keeps_nobody_waiting(tmp_path):
    async def fails(fleet, session, learner):
        raise OSError("no luck")

    router = Router(fails)
    early = asyncio.ensure_future(router.route(asks()))
    with pytest.raises(OSError, match="no luck"):
        await router.run(tmp_path / "fleet.yaml", loads(text()), lambda fleet: None)
    with pytest.raises(RuntimeError, match="did not start"):
        await early


async def test_requests_wait_for_the_start(rig):
    early = asyncio.ensure_future(rig.router.route(asks()))
    await asyncio.sleep(0)
    assert not early.done()
    await rig.start(text())
    assert (await early).choice.instance == "gpu0"


async def test_counts_are_those_of_this_router(rig):
    """The second sees the first on gpu0, and goes where the load is cheaper than the wait."""
    await rig.start(text())
    await rig.router.route(asks("1"))
    others = [asyncio.ensure_future(rig.router.route(asks(str(n)))) for n in range(2, 9)]
    await rig.until(lambda: rig.slots.taken("gpu1"))
    for task in others:
        task.cancel()
    await asyncio.wait(others)
    rig.router.leave("1")
    for number in range(2, 9):
        rig.router.leave(str(number))
    assert counts(rig) == (0, 0, 0)


async def test_an_instance_that_refuses_is_left_out_and_told(rig):
    await rig.start(text())
    rig.refusing = {1}
    with capture_logs() as logs:
        passage = await rig.router.route(asks())
    assert (passage.choice.instance, passage.instance.url) == ("gpu1", "http://127.0.0.1:2")
    assert counts(rig) == (0, 0, 1)
    assert [line["instance"] for line in logs if line["log_level"] == "warning"] == ["gpu0"]


async def test_when_all_refuse_it_is_a_503(rig):
    await rig.start(text())
    rig.refusing = {1, 2}
    choice = (await rig.router.route(asks())).choice
    assert (choice.action, choice.status, choice.retry_after_s) == (Action.REJECT, 503, 5)
    assert counts(rig) == (0, 0, 0)


async def test_who_waits_too_long_for_a_connection_is_turned_away(rig):
    await rig.start(text(models=PINNED, queue_timeout="10ms", hold_timeout="0s"))
    await rig.router.route(asks("1"))
    passage = await rig.router.route(asks("2"))
    assert (passage.choice.status, passage.choice.reason, passage.instance) == (503, "queue timeout", None)
    assert counts(rig) == (1, 0, 1)


WAITS = pytest.mark.parametrize("hold_timeout", ["0s", "1m"], ids=["in the instance's line", "held by the agent"])


def waiting(rig):
    return rig.slots.queued("gpu0") + len(rig.agent.hold)


@WAITS
async def test_who_waits_is_next_when_one_leaves(rig, hold_timeout):
    await rig.start(text(models=PINNED, hold_timeout=hold_timeout))
    await rig.router.route(asks("1"))
    second, third = (asyncio.ensure_future(rig.router.route(asks(name))) for name in "23")
    await rig.until(lambda: waiting(rig) == 2)
    rig.router.leave("1")
    assert (await second).instance.url == "http://127.0.0.1:1"
    assert (third.done(), rig.slots.taken("gpu0"), waiting(rig)) == (False, 1, 1)
    rig.router.leave("2")
    assert (await third).choice.instance == "gpu0"


@WAITS
async def test_who_gives_up_leaves_nothing_behind(rig, hold_timeout):
    await rig.start(text(models=PINNED, hold_timeout=hold_timeout))
    await rig.router.route(asks("1"))
    second = asyncio.ensure_future(rig.router.route(asks("2")))
    await rig.until(lambda: waiting(rig) == 1)
    second.cancel()
    await asyncio.wait([second])
    assert waiting(rig) == 0
    assert counts(rig) == (1, 0, 1)


@WAITS
async def test_an_edited_fleet_is_used_and_requests_go_on(rig, hold_timeout):
    await rig.start(text(models=PINNED, hold_timeout=hold_timeout))
    await rig.router.route(asks("1"))
    second = asyncio.ensure_future(rig.router.route(asks("2")))
    await rig.until(lambda: waiting(rig) == 1)
    rig.path.write_text(text(port=3, models=PINNED, hold_timeout=hold_timeout))
    await rig.until(lambda: len(rig.used) == 2 and waiting(rig) == 1)
    rig.router.leave("1")
    # Where it is now, not where it was when the wait began.
    assert (await second).instance.url == "http://127.0.0.1:3"


@WAITS
async def test_an_instance_that_went_while_one_waited_for_it(rig, hold_timeout):
    await rig.start(text(models=PINNED, hold_timeout=hold_timeout))
    await rig.router.route(asks("1"))
    second = asyncio.ensure_future(rig.router.route(asks("2")))
    await rig.until(lambda: waiting(rig) == 1)
    rig.path.write_text('instances: [{name: gpu1, url: "http://127.0.0.1:2"}]')
    await rig.until(lambda: len(rig.used) == 2)
    rig.router.leave("1")
    assert (await second).choice.instance == "gpu1"
    assert rig.slots.taken("gpu0") == 0


async def test_who_is_held_too_long_is_turned_away(rig):
    await rig.start(text(models=PINNED, hold_timeout="5s"))
    await rig.router.route(asks("1"))
    second = asyncio.ensure_future(rig.router.route(asks("2")))
    await rig.until(lambda: waiting(rig) == 1)
    rig.now_s += 6
    passage = await second
    assert (passage.choice.status, passage.choice.reason, passage.instance) == (503, "hold timeout", None)
    assert counts(rig) == (1, 0, 1)


async def test_what_must_go_goes_before_the_request(rig):
    await rig.start(
        text(models="[{match: n, instances: [gpu0]}]").replace("{max", "{ollama: {max_loaded_models: 1}, max")
    )
    cold = canonical("n")
    state = InstanceState(Health.UP, {M: LoadedModel(1, 1)}, NOW_S, {M: 10**10, cold: 10**10}, NOW_S)
    rig.board.publish("gpu0", state)
    passage = await rig.router.route(asks(model=cold))
    assert passage.choice.reason == "evict"
    assert rig.unloaded == [("gpu0", "m:latest")]


async def test_times_are_learned_and_outlive_an_edit(rig):
    await rig.start(text())
    for number in range(4):
        await rig.router.route(asks(str(number)))
        rig.router.leave(str(number), End("--", 200, Ending(0.5, 2.0, is_whole=True)))
    rig.path.write_text(text(port=3))
    await rig.until(lambda: len(rig.used) == 2)
    assert service_s(rig.agent.learner.learned(NOW_S + 60), M, "gpu0", 10**10) == pytest.approx(2.0)


async def test_connects():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await connects("127.0.0.1", port)
    server.close()
    await server.wait_closed()
    assert not await connects("127.0.0.1", port)
