"""The map is kept current in a folder and in a running HAProxy, whatever others do to it."""

from contextlib import asynccontextmanager, suppress

import pytest
from structlog.testing import capture_logs

from spoe_agent.agent.board import Board
from spoe_agent.fleet import loads, specs
from spoe_agent.haproxy.map_keeper import VERIFY_INTERVAL_S, MapKeeper
from spoe_agent.haproxy.models_map import MODELS_MAP, entries, text
from spoe_agent.haproxy.runtime import AT_ONCE_BYTES, RuntimeAPI, RuntimeAPIError
from spoe_agent.rig.process import Process, accepts, free_port
from spoe_agent.routing import Health, InstanceState
from spoe_agent.routing.names import canonical
from tests.haproxy.test_render import on_each_haproxy
from tests.rigs import Clock

FILE = """
instances: [{name: g0, url: "http://127.0.0.1:1"}, {name: g1, url: "http://127.0.0.1:2"}]
haproxy: {files: %s, runtime: [%s]}
"""
FLEET = specs(loads(FILE % ("/nowhere", "")))
NOTHING = text(FLEET, entries(FLEET))


class Bench:
    """A keeper on a board; the clock is the test's."""

    def __init__(self, folder, *sockets):
        self.clock, self.board, self.file = Clock(), Board(), folder / MODELS_MAP
        self.fleet = loads(FILE % (folder, ", ".join(str(path) for path in sockets)))
        self.keeper = MapKeeper(lambda: self.fleet, self.board, self.clock)

    def has(self, instance, *models):
        lists = {canonical(model): 1 for model in models}
        self.board.publish(instance, InstanceState(Health.UP, {}, self.clock(), lists, self.clock()))

    async def later(self, by_s=VERIFY_INTERVAL_S):
        self.clock.now_s += by_s
        await self.keeper.keep()

    def instances_of(self, model):
        return dict(line.split() for line in self.file.read_text().splitlines()[1:]).get(f"^{model}:latest$")


async def test_the_file_follows_what_is_known(tmp_path):
    bench = Bench(tmp_path)
    bench.file.write_text("what an agent before us wrote")
    await bench.keeper.keep()
    assert bench.file.read_text() == "what an agent before us wrote"
    bench.has("g0", "a")
    bench.has("g1", "a")
    await bench.keeper.keep()
    assert bench.instances_of("a") == ",g0,g1,"
    written = bench.file.stat().st_mtime_ns
    await bench.later()
    assert bench.file.stat().st_mtime_ns == written
    bench.has("g1", "b")
    await bench.keeper.keep()
    assert (bench.instances_of("a"), bench.instances_of("b")) == (",g0,", ",g1,")
    # Somebody rendered the files anew.
    bench.file.write_text(NOTHING)
    await bench.later()
    assert bench.instances_of("b") == ",g1,"
    assert [path.name for path in tmp_path.iterdir()] == [MODELS_MAP]
    # The fleet file names another folder from now on.
    (tmp_path / "other").mkdir()
    bench.fleet = loads(FILE % (tmp_path / "other", ""))
    await bench.keeper.keep()
    assert (tmp_path / "other" / MODELS_MAP).read_text() == bench.file.read_text()


@pytest.mark.parametrize("found", [b"\xff\xfe damaged", b"\x00" * 4096, b""])
async def test_a_damaged_file_is_replaced(tmp_path, found):
    bench = Bench(tmp_path)
    bench.file.write_bytes(found)
    bench.has("g0", "a")
    bench.has("g1", "a")
    await bench.keeper.keep()
    assert bench.instances_of("a") == ",g0,g1,"


async def test_a_folder_in_its_place_is_named(tmp_path):
    bench = Bench(tmp_path)
    bench.file.mkdir()
    bench.has("g0", "a")
    with capture_logs() as logs:
        await bench.keeper.keep()
    assert [(line["log_level"], "Is a directory" in line["why"]) for line in logs] == [("warning", True)]


async def test_a_place_that_cannot_be_written_is_named_once_and_so_is_its_return(tmp_path):
    bench = Bench(tmp_path / "missing", tmp_path / "nobody.sock")
    bench.has("g0", "a")
    with capture_logs() as logs:
        for _ in range(3):
            await bench.later()
        (tmp_path / "missing").mkdir()
        for _ in range(2):
            await bench.later()
    said = [(line["log_level"], line["place"]) for line in logs]
    places = [str(tmp_path / "nobody.sock"), str(bench.file)]
    assert said == [("warning", places[0]), ("warning", places[1]), ("info", places[1])]
    assert all("No such file" in line["why"] for line in logs if line["log_level"] == "warning")


@asynccontextmanager
async def running(binary, folder, maps=(MODELS_MAP,)):
    """A HAProxy that looks `X-Model` up in maps of these files, and its socket."""
    port, sock = free_port(), folder / "h.sock"
    for name in maps:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(NOTHING)
    looked_up = "\n".join(
        f"    http-request set-var(txn.v{number}) req.hdr(x-model),map_reg({folder / name})"
        for number, name in enumerate(maps)
    )
    (folder / "h.cfg").write_text(f"""
global
    stats socket {sock} level admin
defaults
    mode http
    timeout client 30s
frontend f
    bind 127.0.0.1:{port}
{looked_up}
    http-request return status 200
""")
    async with Process("haproxy", [binary, "-db", "-f", folder / "h.cfg"], folder) as haproxy:

        async def is_ready():
            return sock.exists() and await accepts("127.0.0.1", port)

        await haproxy.ready(is_ready)
        yield haproxy, RuntimeAPI(str(sock))


@on_each_haproxy
async def test_a_running_haproxy_follows_too_and_after_its_restart(binary, tmp_path):
    async with running(binary, tmp_path, (MODELS_MAP, f"copy/{MODELS_MAP}", "own.map")) as (haproxy, api):
        (tmp_path / "keeper").mkdir()
        bench = Bench(tmp_path / "keeper", api.path)
        names = [f"m{number:03}" for number in range(AT_ONCE_BYTES // 8)]
        bench.has("g0", *names)
        bench.has("g1", r"hf.co/a_b/c-d", *names)
        await bench.keeper.keep()
        known = entries(FLEET, bench.board.snapshot({}, bench.clock()))
        assert sum(len(model) + len(instances) for model, instances in known) > 2 * AT_ONCE_BYTES
        references = await api.maps(MODELS_MAP)
        assert len(references) == 2
        for reference in references:
            assert await api.lines(reference) == known
        (own,) = await api.maps("own.map")
        assert await api.lines(own) == entries(FLEET)
        await haproxy.stop()
        await haproxy.start()

        async def is_back():
            await bench.later()
            with suppress(OSError):
                return await api.lines((await api.maps(MODELS_MAP))[0]) == known
            return False

        await haproxy.ready(is_back)


@on_each_haproxy
async def test_a_haproxy_without_the_map_is_named(binary, tmp_path):
    async with running(binary, tmp_path, ("own.map",)) as (_, api):
        bench = Bench(tmp_path, api.path)
        bench.has("g0", "a")
        with capture_logs() as logs:
            await bench.keeper.keep()
        (line,) = [line for line in logs if line["log_level"] == "warning"]
        assert line["place"] == api.path
        assert MODELS_MAP in line["why"]
        assert "render haproxy" in line["why"]


@on_each_haproxy
async def test_what_haproxy_refuses_leaves_the_map_as_it_was(binary, tmp_path):
    async with running(binary, tmp_path) as (_, api):
        (reference,) = await api.maps(MODELS_MAP)
        with pytest.raises(RuntimeAPIError, match=r"\("):
            await api.replace(reference, [("^fine$", ",g0,"), ("^broken($", ",g0,")])
        assert await api.lines(reference) == entries(FLEET)
        with pytest.raises(RuntimeAPIError, match="Unknown map"):
            await api.replace("#99", [])
