"""HAProxy's runtime API, as far as maps go (management.txt 9.3): one command a connection, over its stats socket."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import PurePath

DEADLINE_S = 2.0

AT_ONCE_BYTES = 12_000
"""A command must fit into one of HAProxy's buffers, the smallest of which has 16 KiB; so must a single line."""

FEW_LINES = 20
"""So many are quicker changed one by one than thousands written anew."""

Line = tuple[str, str]
"""Key and value."""


class RuntimeAPIError(Exception):
    """HAProxy refuses a command; the text is its answer."""


def _payloads(lines: Sequence[Line]) -> Iterator[str]:
    """Yield the lines in pieces that fit into a command."""
    payload = ""
    for key, value in lines:
        line = f"{key} {value}\n"
        if payload and len(payload) + len(line) > AT_ONCE_BYTES:
            yield payload
            payload = ""
        payload += line
    if payload:
        yield payload


def _shown(answer: str) -> list[Line]:
    """Return the lines of a map as HAProxy shows it: each with an address before it."""
    shown = [line.split(" ") for line in answer.splitlines()]
    return [(parts[1], parts[2]) for parts in shown if len(parts) == 3 and parts[0].startswith("0x")]


def _differing(was: Sequence[Line], lines: Sequence[Line]) -> tuple[set[Line], set[Line]]:
    """Return the lines that are no longer to be there, and those that are new."""
    return set(was) - set(lines), set(lines) - set(was)


class RuntimeAPI:
    """Reads and replaces maps of the HAProxy behind a socket.

    All methods raise OSError, TimeoutError and RuntimeAPIError.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    async def maps(self, name: str) -> list[str]:
        """Return the references of all maps whose file has this name, in whatever folder."""
        listed = re.findall(r"^(\d+) \((.+)\) ", await self.ask("show map"), re.M)
        return [f"#{number}" for number, file in listed if PurePath(file).name == name]

    async def lines(self, reference: str) -> list[Line]:
        """Return a map's lines."""
        # Of many lines, work that others must not wait for.
        return await asyncio.to_thread(_shown, await self.ask(f"show map {reference}"))

    async def change(self, reference: str, was: Sequence[Line], lines: Sequence[Line]) -> None:
        """Make a map of whole keys what it is to be: line by line where few differ, else as a whole."""
        gone, new = await asyncio.to_thread(_differing, was, lines)
        is_few = 0 < len(gone) + len(new) <= FEW_LINES
        if not is_few or any("\\" in key for key, _ in new | gone):
            await self.replace(reference, lines)
            return
        for key in {key for key, _ in gone} - {key for key, _ in new}:
            await self._tell(f"del map {reference} {key}")
        known = {key for key, _ in was}
        for key, value in new:
            # A key whose line changes is there all the while.
            command = "set" if key in known else "add"
            await self._tell(f"{command} map {reference} {key} {value}")

    async def replace(self, reference: str, lines: Sequence[Line]) -> None:
        """Replace a map as a whole: no request sees half of it. Keys and values have no spaces."""
        said = await self.ask(f"prepare map {reference}")
        created = re.match(r"New version created: (\d+)", said)
        if created is None:
            raise RuntimeAPIError(said)
        version = f"@{created[1]} {reference}"
        is_complete = False
        try:
            for payload in _payloads(lines):
                await self._tell(f"add map {version} <<\n{payload}")
            is_complete = True
            await self._tell(f"commit map {version}")
        except BaseException as error:
            # A commit without an answer may have been obeyed: clearing would then take what is in use.
            if not is_complete or isinstance(error, RuntimeAPIError):
                with suppress(OSError, TimeoutError, RuntimeAPIError):
                    await self.ask(f"clear map {version}")
            raise

    async def _tell(self, command: str) -> None:
        """Give a command that has no answer when it is obeyed."""
        said = await self.ask(command)
        if said:
            raise RuntimeAPIError(said)

    async def ask(self, command: str) -> str:
        """Give a command and return its answer."""
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_unix_connection(self.path)
            try:
                writer.write(f"{command}\n".encode())
                return (await reader.read()).decode(errors="replace").strip()
            finally:
                writer.close()
