import asyncio
from collections import Counter
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from aiohttp import ClientSession
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.test_utils import unused_port

from spoe_agent.instances.beat import JITTER, Beat
from spoe_agent.instances.http import Remote
from spoe_agent.instances.ollama import OllamaClient, UnexpectedAnswer
from spoe_agent.instances.poll import STARTING_S, Poller
from spoe_agent.instances.reading import PollResult
from spoe_agent.routing import LoadedModel
from spoe_agent.routing.names import canonical
from tests.instances.servers import MODEL, FakeOllama

A = canonical("a")
LOADED = {A: LoadedModel(1, 1)}
DEADLINE_S = 30


class Clock:
    """Monotonic seconds that only a test moves; `sleep` moves them too."""

    def __init__(self):
        self.now_s = 100.0
        self.slept = []

    def __call__(self):
        return self.now_s

    async def sleep(self, delay_s):
        self.slept.append(delay_s)
        self.now_s += delay_s
        await asyncio.sleep(0)

    def beat(self, **fields):
        return Beat(clock=self, sleep=self.sleep, **{"jitter": lambda: 0.5, **fields})


class Lister:
    """Answers from a script: what `fault` holds is raised, else it is a healthy Ollama."""

    def __init__(self):
        self.fault = None
        self.lists_fault = None
        self.models = {A: 7}
        self.version_fault = None
        self.asked = []

    async def _answer(self, name, fault, answer):
        self.asked.append(name)
        if fault is not None:
            raise fault
        return answer

    async def loaded(self):
        return await self._answer("ps", self.fault, LOADED)

    async def installed(self):
        return await self._answer("tags", self.lists_fault, self.models)

    async def version(self):
        return await self._answer("version", self.version_fault, "0.33.0")


class Board(dict):
    """What was published last, by instance; counts how often."""

    def __init__(self):
        super().__init__()
        self.heard = asyncio.Event()
        self.times = Counter()

    def publish(self, name, reading):
        self[name] = reading
        self.times[name] += 1
        self.heard.set()

    async def until(self, condition):
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self.heard.clear()
                await self.heard.wait()


def poller(source=None, clock=None, board=None, name="g0", lists_interval_s=10.0, **fields):
    source, clock, board = source or Lister(), clock or Clock(), board if board is not None else Board()
    return Poller(name, source, board.publish, clock.beat(**fields), lists_interval_s), source, clock, board


@asynccontextmanager
async def running(*pollers):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one.run()) for one in pollers]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def test_the_first_poll_reads_everything():
    it, source, clock, board = poller()
    await it.poll()
    reading = board["g0"]
    assert (reading.outcome, reading.why, reading.asked_at_s) == (PollResult.ANSWERED, "", clock.now_s)
    assert (reading.loaded, reading.installed, reading.version) == (LOADED, {A: 7}, "0.33.0")
    assert source.asked == ["ps", "tags", "version"]


async def test_lists_are_read_less_often():
    it, source, clock, _ = poller(lists_interval_s=5.0)
    for now_s in (100.0, 101.0, 104.9, 105.0, 106.0):
        clock.now_s = now_s
        await it.poll()
    assert source.asked == ["ps", "tags", "version", "ps", "ps", "ps", "tags", "ps"]


@pytest.mark.parametrize(
    ("fault", "starts"),
    [
        pytest.param(None, False, id="no fault: the last model was deleted"),
        pytest.param(UnexpectedAnswer(), False, id="a wrong answer"),
        pytest.param(TimeoutError(), False, id="slow"),
        pytest.param(ConnectionRefusedError(), True, id="a restart"),
    ],
)
async def test_an_empty_list_proves_nothing_while_a_server_starts(fault, starts):
    it, source, clock, board = poller()
    await it.poll()
    clock.now_s += 2 * STARTING_S
    source.fault, source.models = fault, {}
    await it.poll()
    source.fault = None
    await it.refresh_lists()
    assert board["g0"].is_starting is starts
    clock.now_s += 1.0
    source.asked.clear()
    await it.poll()
    assert ("tags" in source.asked) is starts
    clock.now_s += STARTING_S
    await it.poll()
    assert not board["g0"].is_starting


async def test_a_poll_brings_only_what_it_asked_for():
    it, _, clock, board = poller()
    await it.poll()
    clock.now_s += 1
    await it.poll()
    reading = board["g0"]
    assert (reading.loaded, reading.installed, reading.version, reading.asked_at_s) == (LOADED, None, None, 101.0)


async def test_models_that_appear_end_the_start():
    it, source, _, board = poller()
    source.models = {}
    await it.poll()
    assert board["g0"].is_starting
    source.models = {A: 7}
    await it.poll()
    assert (board["g0"].is_starting, board["g0"].installed) == (False, {A: 7})


async def test_lists_are_read_now_when_somebody_wants_them():
    it, source, _, _ = poller()
    await it.poll()
    source.asked.clear()
    await it.refresh_lists()
    assert source.asked == ["ps", "tags"]


@pytest.mark.parametrize("fault", [TimeoutError(), ConnectionRefusedError(), UnexpectedAnswer()])
async def test_the_version_is_asked_for_again_when_it_was_away(fault):
    it, source, _, board = poller(lists_interval_s=1000.0)
    await it.poll()
    source.fault = fault
    await it.poll()
    source.fault = None
    source.asked.clear()
    for _ in range(2):
        await it.poll()
    assert source.asked.count("version") == 1
    assert board["g0"].outcome is PollResult.ANSWERED


class Gate(Lister):
    """Its first answer to one of the questions waits until the gate is opened."""

    def __init__(self, at):
        super().__init__()
        self.at, self.reached, self.opened = at, asyncio.Event(), asyncio.Event()

    async def _answer(self, name, fault, answer):
        number = self.asked.count(name)
        self.asked.append(name)
        if (name, number) == (self.at, 0):
            self.reached.set()
            await self.opened.wait()
        return answer if isinstance(answer, str) else {**answer, f"answer {number}": None}


async def overtaken(at):
    """A poll that hangs at that question, and a refresh that is asked for meanwhile."""
    it, source, clock, board = poller(Gate(at))
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
        group.create_task(it.poll())
        await source.reached.wait()
        clock.now_s += 1
        group.create_task(it.refresh_lists())
        for _ in range(20):
            await asyncio.sleep(0)
        source.opened.set()
    return source, board


async def test_an_older_reading_does_not_overwrite_a_newer_one():
    _, board = await overtaken("ps")
    assert (board["g0"].loaded, board["g0"].asked_at_s) == ({**LOADED, "answer 1": None}, 101.0)


@pytest.mark.parametrize("at", ["ps", "tags"])
async def test_lists_that_were_asked_for_before_somebody_wanted_them_do_not_count(at):
    source, board = await overtaken(at)
    assert source.asked.count("tags") == 2
    assert (board["g0"].installed, board["g0"].asked_at_s) == ({A: 7, "answer 1": None}, 101.0)


async def test_a_reading_is_as_old_as_the_question():
    it, source, clock, board = poller()

    async def slowly():
        clock.now_s += 3
        return LOADED

    source.loaded = slowly
    await it.poll()
    assert board["g0"].asked_at_s == 100.0


REFUSED = ConnectionRefusedError("connection refused")
NOBODY = aiohttp.ClientConnectorError(
    ConnectionKey("h", 1, False, True, None, None, None), OSError(113, "no route to host")
)
FAULTS = [
    (TimeoutError(), PollResult.SLOW, "no answer in time"),
    (UnexpectedAnswer("GET /api/ps answered 500"), PollResult.SILENT, "GET /api/ps answered 500"),
    (aiohttp.ServerDisconnectedError(), PollResult.SILENT, "Server disconnected"),
    (ConnectionResetError(), PollResult.SILENT, "ConnectionResetError"),
    (REFUSED, PollResult.REFUSED, "connection refused"),
    (NOBODY, PollResult.REFUSED, "no route to host"),
]


@pytest.mark.parametrize(("fault", "outcome", "why"), FAULTS)
async def test_what_goes_wrong_is_published_and_so_is_recovery(fault, outcome, why):
    it, source, clock, board = poller()
    await it.poll()
    for now, expected in ((fault, (outcome, why)), (fault, (outcome, why)), (None, (PollResult.ANSWERED, ""))):
        source.fault = now
        clock.now_s += 1
        await it.poll()
        assert (board["g0"].outcome, board["g0"].why) == expected


@pytest.mark.parametrize(
    ("lists", "version", "outcome"),
    [(True, True, PollResult.ANSWERED), (False, True, PollResult.SLOW), (False, False, PollResult.SILENT)],
)
async def test_silent_is_who_does_not_even_answer_what_takes_no_lock(lists, version, outcome):
    it, source, _, board = poller()
    await it.poll()
    source.fault = None if lists else TimeoutError()
    source.version_fault = None if version else TimeoutError()
    for _ in range(3):
        await it.poll()
        assert board["g0"].outcome is outcome


async def test_who_was_gone_is_asked_for_everything_when_it_is_back():
    it, source, _, board = poller(lists_interval_s=1000.0)
    await it.poll()
    source.fault = REFUSED
    await it.poll()
    assert (board["g0"].loaded, board["g0"].installed) == (None, None)
    source.fault = None
    source.asked.clear()
    await it.poll()
    assert source.asked == ["ps", "tags", "version"]


async def test_lists_that_fail_are_asked_for_again_at_the_next_poll():
    it, source, clock, board = poller()
    source.lists_fault = UnexpectedAnswer("GET /api/tags answered 500")
    await it.poll()
    reading = board["g0"]
    assert (reading.outcome, reading.loaded, reading.installed) == (PollResult.SILENT, LOADED, None)
    source.lists_fault = None
    clock.now_s += 1
    await it.poll()
    assert (board["g0"].outcome, board["g0"].installed, board["g0"].asked_at_s) == (PollResult.ANSWERED, {A: 7}, 101.0)


async def test_a_bug_in_a_source_is_not_taken_for_a_fault_of_the_instance():
    it, source, _, _ = poller()
    source.fault = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await it.poll()


@pytest.mark.parametrize(("jitter", "pause_s"), [(0.0, 2 * (1 - JITTER)), (0.5, 2.0), (1.0, 2 * (1 + JITTER))])
async def test_pauses_vary_around_the_interval(jitter, pause_s):
    it, _, clock, board = poller(interval_s=2.0, jitter=lambda: jitter)
    await it.poll()
    async with running(it):
        await board.until(lambda: board.times["g0"] >= 5)
    # It begins at any moment of the interval.
    assert clock.slept[:4] == [pytest.approx(2 * jitter)] + [pytest.approx(pause_s)] * 3


async def test_who_did_not_answer_is_asked_again_at_once():
    it, source, clock, board = poller(jitter=lambda: 0.5)
    source.fault = REFUSED
    await it.poll()
    async with running(it):
        await board.until(lambda: board.times["g0"] >= 3)
    assert board["g0"].outcome is PollResult.REFUSED
    assert clock.slept[0] == pytest.approx(1.0)


async def test_neither_a_slow_nor_a_dead_instance_delays_another():
    board = Board()
    slow, hanging = Lister(), asyncio.Event()
    slow.loaded = hanging.wait  # never answers
    dead = Lister()
    dead.fault = REFUSED
    pollers = [
        poller(source, board=board, name=name)[0] for name, source in (("slow", slow), ("dead", dead), ("ok", None))
    ]
    async with running(*pollers):
        await board.until(lambda: board.times["ok"] >= 20 and board.times["dead"] >= 2)
    assert "slow" not in board
    assert (board["ok"].outcome, board["dead"].outcome) == (PollResult.ANSWERED, PollResult.REFUSED)


async def test_an_instance_that_starts_hangs_and_dies_over_real_http():
    port, board, clock, ollama = unused_port(), Board(), Clock(), FakeOllama()
    ollama.answers["/api/ps"] = {"models": [MODEL]}
    async with ClientSession() as session:
        url = f"http://127.0.0.1:{port}"
        it = Poller("g0", OllamaClient(session, Remote(url), 30), board.publish, clock.beat(), 10.0)
        impatient = Poller("hasty", OllamaClient(session, Remote(url), 0.05), board.publish, clock.beat(), 10.0)
        await it.poll()
        assert board["g0"].outcome is PollResult.REFUSED
        async with ollama.serving(port):
            await it.poll()
            assert board["g0"].outcome is PollResult.ANSWERED
            assert list(board["g0"].loaded) == [canonical("llama3:8b")]
            ollama.hang.clear()
            await impatient.poll()
            assert board["hasty"].outcome is PollResult.SILENT
        await it.poll()
        assert (board["g0"].outcome, board["g0"].loaded) == (PollResult.REFUSED, None)


async def test_a_poll_that_is_cut_off_leaves_the_last_readings():
    it, source, _, board = poller()
    await it.poll()
    source.loaded = asyncio.Event().wait
    with suppress(TimeoutError):
        async with asyncio.timeout(0):
            await it.poll()
    assert board.times["g0"] == 1
    assert board["g0"].outcome is PollResult.ANSWERED
