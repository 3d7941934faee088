"""What is in force, and what the file says beside that."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from spoe_agent.admin.reload import Reloader
from spoe_agent.fleet.file import EditedFile
from spoe_agent.fleet.schema_haproxy import HAProxySettings
from spoe_agent.instances.reach import reach
from tests.serving import until

ONE = 'instances: [{name: gpu0, url: "http://h:1"}]\n'
TWO = 'instances: [{name: gpu0, url: "http://h:1"}, {name: gpu1, url: "http://h:2"}]\n'
BAD = ONE + "surprise: 1\n"
ELSEWHERE = TWO + 'listeners: {admin: "127.0.0.1:1"}\n'


class Bench:
    """A reloader on a real file; what it puts in force is noted."""

    def __init__(self, folder, text=ONE):
        self.file = EditedFile(folder / "fleet.yaml")
        self.file.path.write_text(text)
        content = self.file.read()
        self.adopted, self.adopting, self.gate = [], 0, None
        self.it = Reloader(self.file, content, content.fleet, self.adopt, interval_s=0.01)

    async def adopt(self, fleet):
        self.adopting += 1
        if self.gate is not None:
            await self.gate.wait()
        if fleet.instances[0].ca_file:
            reach(fleet.instances[0])
        self.adopted.append([one.name for one in fleet.instances])


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


async def test_an_edit_is_put_in_force_and_undone(bench):
    bench.file.path.write_text(TWO)
    outcome = await bench.it.reload()
    assert (outcome.changed, outcome.problems, bench.adopted) == (("instance gpu1 added",), (), [["gpu0", "gpu1"]])
    assert (await bench.it.reload()).changed == ()
    bench.file.path.write_text(ONE)
    await bench.it.reload()
    assert await bench.it.undo()
    assert not await bench.it.undo()
    assert bench.adopted == [["gpu0", "gpu1"], ["gpu0"], ["gpu0", "gpu1"]]


async def test_another_reload_is_not_undone(bench):
    bench.file.path.write_text(TWO)
    await bench.it.reload("mine")
    for name in ("", "other"):
        assert not await bench.it.undo(name)
    assert await bench.it.undo("mine")
    assert bench.adopted == [["gpu0", "gpu1"], ["gpu0"]]


async def test_an_undo_waits_for_the_reload_that_is_under_way(bench):
    """Whoever asked for it may have given up waiting."""
    bench.gate = asyncio.Event()
    bench.file.path.write_text(TWO)
    reload = asyncio.ensure_future(bench.it.reload("mine"))
    await until(lambda: bench.adopting)
    undo = asyncio.ensure_future(bench.it.undo("mine"))
    await asyncio.sleep(0)
    bench.gate.set()
    await reload
    assert await undo
    assert bench.adopted == [["gpu0", "gpu1"], ["gpu0"]]


async def test_a_bad_edit_changes_nothing_and_is_told(bench):
    bench.file.path.write_text(BAD)
    with capture_logs() as logs:
        outcome = await bench.it.reload()
    assert bench.adopted == []
    (problem,) = outcome.problems
    assert problem.startswith(f"{bench.file.path}:2: surprise: unknown key")
    assert [(line["log_level"], line["why"]) for line in logs] == [("error", problem)]
    (warning,) = (await bench.it.pending()).warnings()
    assert problem in warning


async def test_an_edit_that_names_a_file_of_no_use_changes_nothing_and_is_told(bench):
    bench.file.path.write_text('instances: [{name: gpu0, url: "https://h:1", ca_file: /none.pem}]\n')
    with capture_logs() as logs:
        outcome = await bench.it.reload()
    assert (bench.adopted, bench.it.fleet.instances[0].url) == ([], "http://h:1")
    assert outcome.problems[0].startswith("/none.pem: No such file or directory")
    assert [line["log_level"] for line in logs] == ["error"]
    assert not await bench.it.undo()


async def test_listeners_stay_and_are_named(bench):
    bench.file.path.write_text(ELSEWHERE)
    outcome = await bench.it.reload()
    assert (outcome.changed, outcome.needs_restart) == (("instance gpu1 added",), ("listeners.admin",))
    assert str(bench.it.fleet.listeners.admin) == "127.0.0.1:9604"
    assert (await bench.it.pending()).needs_restart == ("listeners.admin",)


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        (ONE, []),
        ("# a remark\n" + ONE, []),
        (TWO, ["instance gpu1 added: pointsman apply"]),
        (ELSEWHERE, ["instance gpu1 added: pointsman apply", "listeners.admin of the fleet file"]),
        (BAD, ["cannot be used"]),
    ],
)
async def test_what_is_not_in_force_is_warned_of(bench, text, warned):
    bench.file.path.write_text(text)
    warnings = (await bench.it.pending()).warnings()
    assert [part in warning for part, warning in zip(warned, warnings, strict=True)] == [True] * len(warned)


async def test_who_runs_it_with_up_is_told_to_start_that_anew(tmp_path):
    path = tmp_path / "fleet.yaml"
    path.write_text(ONE)
    file = EditedFile(path, HAProxySettings())
    content = file.read()
    reloader = Reloader(file, content, content.fleet, None)
    path.write_text(ELSEWHERE)
    warnings = (await reloader.pending()).warnings()
    assert warnings[0].endswith("not in force: instance gpu1 added: start `pointsman up` anew")
    assert warnings[1].endswith("in force after a new start of `pointsman up`")


async def test_haproxys_files_that_are_not_what_the_file_gives_are_named(bench, tmp_path):
    bench.file.path.write_text(f"{ONE}haproxy: {{files: {tmp_path}/haproxy}}\n")
    await bench.it.reload()
    pending = await bench.it.pending()
    assert "haproxy.cfg" in pending.rendered
    assert f"in {tmp_path}/haproxy, " in pending.warnings()[0]
    assert pending.status()["rendered"] == list(pending.rendered)


WATCH = "policies: {watch: true}\n"


@asynccontextmanager
async def looking(bench):
    """It looks for edits meanwhile; gives what it logs."""
    with capture_logs() as logs:
        task = asyncio.ensure_future(bench.it.run())
        yield logs
        task.cancel()
        await asyncio.wait([task])


async def test_an_edit_is_warned_of_once(bench):
    async with looking(bench) as logs:
        bench.file.path.write_text(TWO)
        await until(lambda: logs)
        bench.file.path.write_text(BAD)
        await until(lambda: len(logs) > 1)
    assert [line["event"] for line in logs] == ["the fleet file's edit is not in force"] * 2
    assert bench.adopted == []


async def test_with_watch_an_edit_is_put_in_force_by_itself_and_a_bad_one_is_told_once(tmp_path):
    bench = Bench(tmp_path, ONE + WATCH)
    async with looking(bench) as logs:
        bench.file.path.write_text(TWO + WATCH)
        await until(lambda: bench.adopted)
        bench.file.path.write_text(BAD + WATCH)
        await until(lambda: len(logs) > 1)
        bench.file.path.write_text(ONE)
        await until(lambda: len(bench.adopted) > 1)
        bench.file.path.write_text(TWO)
        await until(lambda: len(logs) > 3)
    assert bench.adopted == [["gpu0", "gpu1"], ["gpu0"]]
    assert [line["log_level"] for line in logs] == ["info", "error", "info", "warning"]
