"""Headless Chromium, driven by its own protocol (CDP) over a WebSocket: no driver program, no further library."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

START_S = 30.0
NAMES = ("chromium", "chromium-browser", "google-chrome")


def find() -> str | None:
    """Return the browser's program: $CHROMIUM, or what the system has; None when there is none."""
    return os.environ.get("CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.complaints: list[str] = []
        """What the console has as errors, a broken content security policy among them, and uncaught exceptions."""
        self.password = ""
        """What its user types when the browser asks for one."""

    async def listen(self) -> None:
        """Take what the browser says, until it is gone."""
        async for message in self._socket:
            found = message.json()
            if "id" in found:
                self._waiting.pop(found["id"]).set_result(found)
            elif found["method"] == "Fetch.requestPaused":
                await self._send("Fetch.continueRequest", requestId=found["params"]["requestId"])
            elif found["method"] == "Fetch.authRequired":
                await self._answer(found["params"]["requestId"])
            elif found["method"] == "Runtime.exceptionThrown":
                self.complaints.append(str(found["params"]["exceptionDetails"]))
            elif found["method"] == "Log.entryAdded" and found["params"]["entry"]["level"] == "error":
                entry = found["params"]["entry"]
                self.complaints.append(f"{entry['text']} {entry.get('url', '')}")

    async def do(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send a command of the protocol, and return its result."""
        answer = await self._send(method, **parameters)
        found = await asyncio.wait_for(answer, START_S)
        assert "error" not in found, f"{method}: {found['error']}"
        result: dict[str, Any] = found["result"]
        return result

    async def _send(self, method: str, **parameters: object) -> asyncio.Future[dict[str, Any]]:
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        return answer

    async def _answer(self, request: str) -> None:
        """Do what a user does whom the browser asks for a password."""
        typed = {"response": "ProvideCredentials", "username": "me", "password": self.password}
        await self._send("Fetch.continueWithAuth", requestId=request, authChallengeResponse=typed)

    async def run(self, script: str) -> Any:
        """Return what a script's last expression is, once it is there."""
        found = await self.do("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def go(self, url: str) -> None:
        """Open a page."""
        await self.do("Page.navigate", url=url)

    async def text(self, selector: str = "body") -> str:
        """Return the text that is seen of an element; "" when there is none."""
        return str(await self.run(f"document.querySelector({selector!r})?.innerText ?? ''"))

    async def press(self, key: str) -> None:
        """Press a key and let go."""
        text = {"text": "\r"} if key == "Enter" else {}
        codes = {"Enter": 13, "Tab": 9, "Escape": 27}
        for kind in ("keyDown", "keyUp"):
            sends = text if kind == "keyDown" else {}
            await self.do(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key], **sends
            )

    async def look(self, width: int, height: int = 900, scheme: str = "light") -> None:
        """Be as wide, with that colour scheme."""
        await self.do(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        await self.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def shoot(self, file: Path, whole: bool = True) -> None:
        """Save what is seen, or the whole page, as PNG."""
        found = await self.do("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(found["data"]))


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Page]:
    """One browser with one tab, ended afterwards."""
    program = find()
    assert program is not None
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    flags += ["--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0"]
    command = [program, *flags, f"--user-data-dir={folder / 'profile'}", "about:blank"]
    log = (folder / "chromium.log").open("wb")
    child = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
    try:
        port = await _port(folder / "chromium.log")
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                tabs = await answer.json()
            url = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
            async with session.ws_connect(url, max_msg_size=0) as socket:
                page = Page(socket)
                listener = group.create_task(page.listen())
                for domain in ("Page", "Runtime", "Log", "Network"):
                    await page.do(f"{domain}.enable")
                yield page
                listener.cancel()
    finally:
        child.terminate()
        await child.wait()
        log.close()


async def _port(log: Path) -> str:
    async with asyncio.timeout(START_S):
        while not (found := re.search(r"DevTools listening on ws://127\.0\.0\.1:(\d+)/", log.read_text())):
            await asyncio.sleep(0.05)
    return found[1]
