"""HAProxy's keys follow their file; the clock is the test's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from structlog.testing import capture_logs

from spoe_agent.fleet import loads
from spoe_agent.haproxy.key_keeper import RETRY_INTERVAL_S, VERIFY_INTERVAL_S, KeyKeeper
from spoe_agent.haproxy.key_maps import KEYS_MAP
from spoe_agent.keys.entry import Key
from spoe_agent.keys.file import change
from tests.rigs import Clock


class Bench:
    """A keeper of a folder's keys, and of sockets."""

    def __init__(self, folder: Path, *sockets: Path) -> None:
        self.clock, self.file, self.map = Clock(), folder / "keys" / "keys.json", folder / "haproxy" / KEYS_MAP
        runtime = ", ".join(map(str, sockets))
        self.fleet = loads(
            f'keys: {{file: {self.file}}}\ninstances: [{{name: g, url: "http://127.0.0.1:1"}}]\n'
            f"haproxy: {{files: {self.map.parent}, runtime: [{runtime}]}}"
        )
        self.keeper = KeyKeeper(lambda: self.fleet, self.clock)

    def has(self, *names: str) -> None:
        change(self.file, lambda _: tuple(Key(name=name, hash=name.upper() * 64) for name in names))

    async def later(self, by_s: float = 0.0) -> None:
        self.clock.now_s += by_s
        await self.keeper.keep()

    def names(self) -> list[str]:
        return [line[0].lower() for line in self.map.read_text().splitlines()[1:]]


async def test_the_map_follows_its_file_and_is_put_back_where_others_changed_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.has("a", "b")
    await bench.later()
    assert bench.names() == ["a", "b"]
    bench.has("b")
    await bench.later()
    assert bench.names() == ["b"]
    bench.map.write_text("# of another\n")
    await bench.later()
    assert bench.names() == []
    await bench.later(VERIFY_INTERVAL_S)
    assert bench.names() == ["b"]


async def test_keys_that_have_not_changed_are_not_read_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.has("a")
    await bench.later()
    was = bench.file.stat()
    bench.file.write_text(bench.file.read_text().replace("A", "B"))
    os.utime(bench.file, ns=(was.st_atime_ns, was.st_mtime_ns))
    await bench.later(VERIFY_INTERVAL_S)
    assert bench.names() == ["a"]
    os.utime(bench.file, ns=(was.st_atime_ns, was.st_mtime_ns + 1))
    await bench.later()
    assert bench.names() == ["b"]


async def test_a_damaged_file_leaves_haproxys_keys_and_is_named_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.has("a")
    await bench.later()
    whole = bench.file.read_text()
    bench.file.write_text("{")
    with capture_logs() as logs:
        for _ in range(3):
            await bench.later(VERIFY_INTERVAL_S)
        bench.file.write_text(whole)
        await bench.later()
    assert bench.names() == ["a"]
    (said,) = [line for line in logs if line["log_level"] == "warning"]
    assert "is damaged" in said["why"]


@asynccontextmanager
async def closing(path: Path) -> AsyncIterator[list[int]]:
    """A socket that has no answers; what it gives has an entry for each try."""
    tries: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        tries.append(1)
        writer.close()

    server = await asyncio.start_unix_server(answer, path)
    try:
        yield tries
    finally:
        server.close()


async def test_what_failed_is_tried_again_after_a_pause_and_at_once_with_other_keys(tmp_path: Path) -> None:
    async with closing(tmp_path / "h.sock") as tries:
        bench = Bench(tmp_path, tmp_path / "h.sock")
        bench.has("a")
        with capture_logs() as logs:
            for _ in range(3):
                await bench.later()
            assert len(tries) == 1
            await bench.later(RETRY_INTERVAL_S)
            assert len(tries) == 2
            bench.has("b")
            await bench.later()
            assert len(tries) == 3
        assert bench.names() == ["b"]
        assert [line["place"] for line in logs] == [str(tmp_path / "h.sock")]


async def test_a_fleet_without_keys_has_none_kept(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.has("a")
    bench.fleet = bench.fleet.model_copy(update={"keys": None})
    await bench.later()
    assert not bench.map.exists()
