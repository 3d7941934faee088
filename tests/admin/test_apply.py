"""What `pointsman apply` does and undoes, with real files and commands, and a stand-in of the agent."""

import asyncio
import fcntl
import os
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from spoe_agent.admin.apply import NotUndone, Refused, apply
from spoe_agent.admin.front import Before, before, why_not
from spoe_agent.fleet import Listen
from spoe_agent.fleet.file import EditedFile
from spoe_agent.haproxy.render import haproxy_files
from spoe_agent.rig.process import free_port
from spoe_agent.written import write
from tests.serving import until

FLEET = """
listeners: {{front: "127.0.0.1:{front}", again: "127.0.0.1:{again}"}}
instances: [{{name: gpu0, url: "http://h:1"}}, {{name: gpu1, url: "http://h:2"}}]
policies: {{hold_timeout: {hold}}}
haproxy: {{files: {folder}/haproxy, test: {test}, reload: "echo reload >> {folder}/log"}}
"""


class Bench:
    """A fleet file, and an agent that answers as it is told to; `log` has what was asked and run, in order."""

    def __init__(self, folder, hold="60s", test="'true'"):
        self.folder, self.said = folder, []
        self.file = EditedFile(folder / "fleet.yaml")
        self.front = free_port()
        text = FLEET.format(folder=folder, hold=hold, test=test, front=self.front, again=free_port())
        self.file.path.write_text(text)
        self.digest = self.file.read().digest
        self.status = {"file": "/x", "digest": self.digest, "needs_restart": [], "holds": True}
        self.status["reload_haproxy"] = f"echo reload-as-before >> {folder}/log"
        self.starts, self.missing, self.reload = True, [], {"digest": self.digest, "changed": ["models"]}
        self.refuses, self.hangs, self.names = "", "", []

    async def ask(self, method, path):
        path, _, name = path.partition("?name=")
        if path == self.refuses:
            raise Refused(f"no {path}")
        if path == "/status":
            return {"fleet": self.status, "haproxy": await self.haproxy()}
        self.note(path)
        if path == self.hangs:
            await asyncio.Event().wait()
        self.names.append(name)
        return {"/reload": self.reload, "/reload/undo": {}}[path]

    async def haproxy(self):
        """Each reload starts a process, if it does."""
        reloads = self.log.count("reload")
        if self.hangs == "HAProxy" and reloads:
            self.note("waits")
            await asyncio.Event().wait()
        return {"processes": [{"name": str(reloads if self.starts else 0)}], "missing": self.missing}

    def note(self, text):
        with (self.folder / "log").open("a") as log:
            log.write(f"{text}\n")

    async def apply(self):
        await apply(self.file, self.ask, self.said.append, patience_s=0)

    @property
    def log(self):
        return (self.folder / "log").read_text().split() if (self.folder / "log").exists() else []

    @property
    def written(self):
        return {path.name for path in (self.folder / "haproxy").rglob("*") if path.is_file()}


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


async def test_all_steps_in_their_order(bench):
    await bench.apply()
    assert bench.log == ["/reload", "reload"]
    texts = haproxy_files(bench.file.read().fleet)
    assert all((bench.folder / "haproxy" / name).read_text() == text for name, text in texts.items())
    assert [line.partition(":")[0] for line in bench.said] == [
        str(bench.file.path),
        str(bench.folder / "haproxy"),
        "HAProxy's configuration is good",
        "agent",
        "HAProxy reloaded",
        "HAProxy serves at 127.0.0.1",
    ]


@pytest.mark.parametrize(
    ("held", "hold", "order"),
    [
        (False, "60s", ["reload", "/reload", "reload"]),
        (True, "60s", ["/reload", "reload"]),
        (True, "0s", ["/reload", "reload"]),
    ],
)
async def test_haproxy_can_hold_before_the_agent_asks_it_to(tmp_path, held, hold, order):
    bench = Bench(tmp_path, hold)
    bench.status["holds"] = held
    await bench.apply()
    assert [step for step in bench.log if "reload" in step] == order


REFUSALS = {
    "another file": (lambda bench: bench.status.update(digest="other"), "the agent reads /x, which is not the same as"),
    "listeners": (lambda bench: bench.status.update(needs_restart=["listeners.log"]), "listeners.log: the agent must"),
    "no agent": (lambda bench: setattr(bench, "refuses", "/status"), "no /status"),
    "a bad file": (lambda bench: bench.file.path.write_text("instances: 7"), "fleet.yaml:1: instances: "),
    "no folder": (
        lambda bench: bench.file.path.write_text('instances: [{name: a, url: "http://h:1"}]'),
        "haproxy.files: is missing",
    ),
    "a folder that cannot be": (lambda bench: (bench.folder / "haproxy").touch(), "cannot write HAProxy's files"),
}


@pytest.mark.parametrize(("spoil", "why"), REFUSALS.values(), ids=REFUSALS)
async def test_what_is_refused_before_anything_is_done(bench, spoil, why):
    spoil(bench)
    with pytest.raises(Refused, match=why):
        await bench.apply()
    assert bench.log == []
    assert bench.written == set()


FAILURES = {
    "the agent": (lambda bench: setattr(bench, "refuses", "/reload"), "no /reload", ["/reload/undo"]),
    "edited meanwhile": (
        lambda bench: bench.reload.update(digest="new"),
        "edited meanwhile",
        ["/reload", "/reload/undo"],
    ),
    "HAProxy has other files": (
        lambda bench: bench.missing.append("gpu0"),
        "HAProxy was reloaded, and it does not have gpu0 at the address of the fleet file",
        ["/reload", "reload", "reload-as-before", "/reload/undo"],
    ),
}


@pytest.mark.parametrize(("spoil", "why", "done"), FAILURES.values(), ids=FAILURES)
async def test_what_fails_is_undone(bench, spoil, why, done):
    spoil(bench)
    with pytest.raises(Refused, match=why):
        await bench.apply()
    assert bench.log == done
    assert bench.written == set()
    assert bench.said[-1].startswith("undone")


@pytest.mark.parametrize(
    ("hangs", "undone"),
    [
        ("/reload", ["/reload", "/reload/undo"]),
        ("HAProxy", ["/reload", "reload", "waits", "reload-as-before", "/reload/undo"]),
    ],
)
async def test_an_interrupt_undoes_what_was_done(bench, hangs, undone):
    bench.hangs = hangs
    task = asyncio.ensure_future(bench.apply())
    await until(lambda: hangs in bench.log or "waits" in bench.log)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.log == undone
    assert bench.written == set()
    assert bench.said[-1].startswith("undone")


@asynccontextmanager
async def answering(port, asked):
    """Somebody answers there, whatever is asked."""

    async def answer(request):
        asked.append((request.path, request.headers["Host"]))
        return web.Response(status=404)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def test_an_address_that_somebody_else_has_is_refused_before_anything_is_done(bench):
    async with answering(bench.front, []):
        with pytest.raises(Refused, match=rf"front \(TCP 127.0.0.1:{bench.front}\) is taken by process {os.getpid()} "):
            await bench.apply()
    assert bench.log == []
    assert bench.written == set()


async def test_a_haproxy_that_does_not_start_anew_is_not_taken_for_one_that_does(bench):
    """Its master goes on with the process before, which answers as before."""
    asked, was = [], Before(frozenset({"0"}), answered=True)
    bench.starts = False
    async with answering(bench.front, asked):
        assert "no new process of it asks the agent" in await why_not(Listen("0.0.0.0", bench.front), was, bench.ask, 0)
        assert asked == [("/api/version", "localhost")]
        bench.starts = True
        bench.note("reload")
        assert await why_not(Listen("0.0.0.0", bench.front), was, bench.ask, 0) == ""


async def test_a_haproxy_that_does_not_ask_yet_is_waited_for(bench):
    """It takes an agent that has just started for dead until its next check, and would be taken for a new one later."""
    asked = []

    async def ask(_method, _path):
        return {"haproxy": {"processes": [{"name": "old"}] if len(asked) > 4 else [], "missing": []}}

    async with answering(bench.front, asked):
        found = await before([Listen("127.0.0.1", bench.front)], ask, 30, "/ollama")
    assert found == Before(frozenset({"old"}), answered=True)
    assert {path for path, _ in asked} == {"/api/version", "/ollama/api/version"}
    assert await before([Listen("127.0.0.1", bench.front)], ask, 30) == Before(frozenset({"old"}), answered=False)


async def test_who_answered_before_must_answer_after(bench):
    bench.starts, front = False, Listen("127.0.0.1", bench.front)
    for answered, expected in ((True, f"nobody answers at {front}"), (False, None)):
        assert await why_not(front, Before(frozenset({"0"}), answered), bench.ask, 0) == expected


async def test_what_cannot_be_seen_from_here_is_said(bench):
    bench.starts = False
    await bench.apply()
    assert bench.said[-1].startswith(f"Note: nobody answers at 127.0.0.1:{bench.front}, as before")


async def test_only_its_own_reload_is_undone(bench):
    bench.reload["digest"] = "new"
    for _ in range(2):
        with pytest.raises(Refused):
            await bench.apply()
    first, undone, second, _ = bench.names
    assert first == undone != second


async def test_a_command_that_runs_is_ended_before_anything_is_undone(tmp_path):
    bench = Bench(tmp_path, test=f'"echo $$ > {tmp_path}/pid; exec sleep 60"')
    task = asyncio.ensure_future(bench.apply())
    await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()
    assert bench.written == set()


async def test_a_test_that_fails_says_its_last_words_and_leaves_the_old_files(tmp_path):
    bench = Bench(tmp_path)
    await bench.apply()
    write({"origins.lst": "as it was"}, tmp_path / "haproxy")
    for _ in range(2):  # the list of what was written is as it was, too
        with pytest.raises(Refused, match=r"(?s)failed with status 4.*line 7 is bad"):
            await Bench(tmp_path, test='"echo line 7 is bad >&2; exit 4"').apply()
        assert (tmp_path / "haproxy" / "origins.lst").read_text() == "as it was"


async def test_what_was_edited_by_hand_stays(tmp_path):
    bench = Bench(tmp_path)
    await bench.apply()
    (tmp_path / "haproxy" / "origins.lst").write_text("mine")
    with pytest.raises(Refused, match=r"origins\.lst edited by hand since it was rendered; pointsman render haproxy"):
        await Bench(tmp_path).apply()
    assert (tmp_path / "haproxy" / "origins.lst").read_text() == "mine"


async def test_what_cannot_be_undone_is_said(bench):
    bench.reload["digest"], bench.refuses = "new", "/reload/undo"
    with pytest.raises(NotUndone, match=r"(?s)edited meanwhile.*could not be undone:\nno /reload/undo\nLook at"):
        await bench.apply()


async def test_files_that_cannot_be_read_are_not_written(bench):
    (bench.folder / "haproxy" / "haproxy.cfg").mkdir(parents=True)
    with pytest.raises(Refused, match=r"cannot read HAProxy.s files as they are: .*haproxy\.cfg"):
        await bench.apply()
    assert bench.log == []


async def test_one_at_a_time(bench):
    (bench.folder / "haproxy").mkdir()
    lock = os.open(bench.folder / "haproxy", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(Refused, match="another `pointsman apply` is at work"):
        await bench.apply()
    os.close(lock)
    await bench.apply()
