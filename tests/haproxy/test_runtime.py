"""Maps of a real HAProxy, changed through its socket: line by line, as a whole, and when it breaks on the way."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from spoe_agent.haproxy.runtime import AT_ONCE_BYTES, FEW_LINES, Line, RuntimeAPI, RuntimeAPIError
from spoe_agent.rig.process import Process, accepts, free_port
from tests.haproxy.test_render import on_each_haproxy

MAP = "whole.map"
BEFORE = [("a", "1"), ("b", "2"), ("c", "3")]
LONG = [(f"key{number}", "x" * 100) for number in range(3 * AT_ONCE_BYTES // 100)]


@asynccontextmanager
async def running(binary: str, folder: Path, name: str = MAP) -> AsyncIterator[RuntimeAPI]:
    """A HAProxy with a map of whole keys, and its socket."""
    port, path = free_port(), folder / "h.sock"
    (folder / name).write_text("".join(f"{key} {value}\n" for key, value in BEFORE))
    (folder / "h.cfg").write_text(f"""
global
    stats socket {path} level admin
defaults
    mode http
    timeout client 30s
frontend f
    bind 127.0.0.1:{port}
    http-request return status 200 hdr found %[req.hdr(x-key),map({folder / name})]
""")
    async with Process("haproxy", [binary, "-db", "-f", folder / "h.cfg"], folder) as haproxy:

        async def is_ready() -> bool:
            return path.exists() and await accepts("127.0.0.1", port)

        await haproxy.ready(is_ready)
        yield RuntimeAPI(str(path))


@asynccontextmanager
async def breaking(behind: str, path: Path, breaks: Callable[[bytes], bool]) -> AsyncIterator[RuntimeAPI]:
    """A socket that passes commands on, and breaks where one begins so."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.setblocking(False)

        async def serve() -> None:
            while True:
                client, _ = await loop.sock_accept(listener)
                with client:
                    begun = await loop.sock_recv(client, 6)
                    # What is left unread makes the other end fail, not end.
                    if not breaks(begun):
                        command = begun + await loop.sock_recv(client, 1 << 20)
                        reader, writer = await asyncio.open_unix_connection(behind)
                        writer.write(command)
                        await loop.sock_sendall(client, await reader.read())
                        writer.close()

        task = asyncio.ensure_future(serve())
        try:
            yield RuntimeAPI(str(path))
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


CHANGES: dict[str, tuple[list[Line], str]] = {
    "same": (BEFORE, "as a whole"),  # what differs in nothing else has a line twice
    "few": ([("a", "1"), ("b", "9"), ("d", "4")], "line by line"),
    "many": ([("a", "1"), *((f"n{number}", "1") for number in range(FEW_LINES))], "as a whole"),
    "backslash": ([*BEFORE, ("d\\e", "4")], "as a whole"),
    "all": ([], "line by line"),
    "long": (LONG, "as a whole"),
}


@on_each_haproxy
async def test_a_map_becomes_what_it_is_to_be(binary: str, tmp_path: Path) -> None:
    async with running(binary, tmp_path) as api:
        (reference,) = await api.maps(MAP)
        for name, (lines, how) in CHANGES.items():
            await api.replace(reference, BEFORE)
            was = await version(api, "curr_ver")
            await api.change(reference, BEFORE, lines)
            assert sorted(await api.lines(reference)) == sorted(lines), name
            assert (await version(api, "curr_ver") != was) is (how == "as a whole"), name


async def version(api: RuntimeAPI, which: str) -> str:
    """Return a version of the map: `curr_ver`, in use; `next_ver`, prepared last."""
    (listed,) = [line for line in (await api.ask("show map")).splitlines() if MAP in line]
    return listed.partition(f"{which}=")[2].split()[0]


@on_each_haproxy
@pytest.mark.parametrize("at", [b"add ma", b"commit"])
async def test_what_breaks_on_the_way_leaves_the_map_as_it_was(binary: str, tmp_path: Path, at: bytes) -> None:
    seen: list[bytes] = []

    def breaks(begun: bytes) -> bool:
        """The second piece of the lines, or the commit."""
        seen.append(begun)
        return begun == at and (at == b"commit" or seen.count(at) == 2)

    async with running(binary, tmp_path) as api, breaking(api.path, tmp_path / "b.sock", breaks) as broken:
        (reference,) = await api.maps(MAP)
        with pytest.raises(OSError):
            await broken.replace(reference, LONG)
        assert sorted(await api.lines(reference)) == BEFORE
        # A commit without an answer may have been obeyed, so nothing is cleared after it.
        prepared = await api.ask(f"show map @{await version(api, 'next_ver')} {reference}")
        assert bool(prepared) is (at == b"commit")
        await api.replace(reference, LONG)
        assert sorted(await api.lines(reference)) == sorted(LONG)


@on_each_haproxy
async def test_a_map_that_is_not_there_is_refused(binary: str, tmp_path: Path) -> None:
    async with running(binary, tmp_path) as api:
        assert await api.maps("other.map") == []
        for lines in (BEFORE[:1], LONG):
            with pytest.raises(RuntimeAPIError):
                await api.change("#99", BEFORE, lines)
