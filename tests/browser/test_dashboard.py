"""The dashboard as people see it: real headless Chromium on a fleet that is as the test says.

With POINTSMAN_SHOTS=FOLDER each width, scheme and size of fleet is saved there as a picture, to be looked at.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from spoe_agent.admin import explain
from spoe_agent.admin.wording import worded
from spoe_agent.keys.entry import Key, hash_of
from spoe_agent.keys.file import change
from tests.browser.chromium import Page, browser, find
from tests.dashboard.stage import GIB, Stage, busy

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(find() is None, reason="no Chromium: `sh scripts/install.sh chromium` installs it"),
]

DEADLINE_S = 20.0
SHOTS = os.environ.get("POINTSMAN_SHOTS")
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Page]:
    async with browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


async def until(page: Page, script: str, expected: object = True) -> None:
    """Wait until a script in the page says something."""
    deadline_s = time.monotonic() + DEADLINE_S
    while (found := await page.run(script)) != expected:
        assert time.monotonic() < deadline_s, f"{script}: {found!r}, not {expected!r}"
        await asyncio.sleep(0.05)


async def shows(page: Page, selector: str, text: str) -> None:
    """Wait until an element has a text in it."""
    await until(page, f"(document.querySelector({selector!r})?.innerText ?? '').includes({text!r})")


async def opened(page: Page, url: str, width: int = 1200, scheme: str = "light") -> None:
    """Open the dashboard, and wait for its first scene."""
    await page.go("about:blank")
    # A page before this one asks on for an agent that is gone by now.
    await until(page, "location.href", "about:blank")
    page.complaints.clear()
    await page.look(width, scheme=scheme)
    await page.go(url)
    await shows(page, "#link", "live")


async def test_memory_is_to_scale_and_slots_fill(page: Page) -> None:
    stage = Stage(2)
    stage.reads("gpu0", "mistral:7b", "phi4:14b")
    stage.telemetry("gpu0", foreign_bytes=20 * GIB)
    for _ in range(3):
        stage.asks("phi4:14b", "gpu0")
    stage.asks("gemma2:27b", "gpu1")
    async with stage.serving() as url:
        await opened(page, url)
        label = "#instances li:first-child .tile[aria-label^='phi4:14b']"
        await until(page, f'document.querySelector("{label}").ariaLabel', "phi4:14b, 10.0 GiB, 3 of 4 slots")
        await until(page, f'document.querySelectorAll("{label} .slot.used").length', 3)
        heights = "['phi4:14b', 'mistral:7b', 'others'].map((name) => document.querySelector("
        heights += "`#instances li:first-child .tile[aria-label^='${name}']`).getBoundingClientRect().height)"
        phi, mistral, others = await page.run(heights)
        assert phi / mistral == pytest.approx(2, rel=0.1)
        assert others / phi == pytest.approx(2, rel=0.1)
        await shows(page, "#instances li:nth-child(2) .tile.loads", "left")
        assert page.complaints == []


async def test_names_from_clients_are_text(page: Page) -> None:
    stage = Stage(1)
    stage.reads("gpu0", "mistral:7b")
    for _ in range(6):
        stage.asks("mistral:7b", caller=HOSTILE)
    stage.warnings.append(HOSTILE)
    async with stage.serving() as url:
        await opened(page, url)
        await shows(page, "#queue", HOSTILE[:20])
        await shows(page, "#faults", HOSTILE)
        await page.run("document.querySelector('#queue button').click()")
        await shows(page, "#explained", HOSTILE)
        assert await page.run("document.querySelectorAll('main img, dialog img').length") == 0
        assert page.complaints == []


async def test_an_explanation_is_a_key_away_in_the_words_of_the_command(page: Page) -> None:
    stage = Stage(2)
    stage.reads("gpu1", "mistral:7b")
    request_id, _ = stage.asks("mistral:7b")
    async with stage.serving() as url:
        await opened(page, url)
        await until(page, "document.querySelectorAll('#decisions tr').length", 1)
        await page.run("document.querySelector('#decisions button').focus()")
        await page.press("Enter")
        await until(page, "document.querySelector('#explained').open")
        found = explain.one(stage.agent, request_id, time.monotonic())
        assert found is not None
        words = worded(found)
        for line in (*words.headings, *words.rows[1], *words.meanings, words.end):
            await shows(page, "#explained", line)
        await page.press("Escape")
        await until(page, "document.querySelector('#explained').open", False)
        # The focus is where it was.
        assert await page.run("document.activeElement.closest('#decisions') !== null")
        await page.run("document.querySelector('#ask-model').value = 'phi4:14b'")
        await page.run("document.querySelector('#ask-model').focus()")
        await page.press("Enter")
        await shows(page, "#explained", "A request for phi4:14b would now be sent to")


async def test_an_instance_is_drained_and_let_back_in(page: Page) -> None:
    stage = Stage(2)
    async with stage.serving() as url:
        await opened(page, url)
        await page.run("document.querySelector('#instances .name').focus()")
        await page.press("Enter")
        await until(page, "document.querySelector('#instance').open")
        await page.run("document.querySelector('#by-hand').click()")
        await shows(page, "#by-hand-said", "gpu0 is drained.")
        await until(page, "document.querySelector('.instance').dataset.health", "drained")
        await shows(page, "#by-hand", "Let it serve again")
        await page.run("document.querySelector('#by-hand').click()")
        await until(page, "document.querySelector('.instance').dataset.health", "up")
        assert page.complaints == []


async def test_where_a_key_is_asked_for_the_browsers_user_gives_it_once(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    change(file, lambda _: (Key(name="b", hash=hash_of("manages"), manage=True),))
    page.password = "manages"
    await page.do("Fetch.enable", handleAuthRequests=True)
    stage = Stage(1, keys=str(file))
    async with stage.serving() as url:
        await opened(page, url)
        await page.run("document.querySelector('#instances .name').click()")
        await page.run("document.querySelector('#by-hand').click()")
        await shows(page, "#by-hand-said", "gpu0 is drained.")
    await page.do("Fetch.disable")


async def test_an_agent_that_is_gone_is_said_and_one_that_is_back_is_shown(page: Page) -> None:
    first, second = Stage(2), Stage(3)
    second.listen = first.listen
    async with first.serving() as url:
        await opened(page, url)
    await shows(page, "#lost", "The agent does not answer")
    assert await page.run("document.body.classList.contains('stale')")
    async with second.serving():
        await shows(page, "#link", "live")
        await until(page, "document.querySelectorAll('.instance').length", 3)
        await until(page, "document.querySelector('#lost').hidden")


async def test_an_agent_that_hangs_is_said(page: Page) -> None:
    async with Stage(1, tick_s=3600.0).serving() as url:
        await opened(page, url)
        await shows(page, "#lost", "it hangs or is stopped")


async def test_what_breaks_is_named_above_all(page: Page) -> None:
    stage = Stage(6)
    for name in stage.names:
        stage.reads(name, "gemma2:27b")
    async with stage.serving() as url:
        await opened(page, url)
        await until(page, "document.querySelector('#wrong').hidden")
        stage.dies("gpu1")
        stage.reads("gpu2", "gemma2:27b", spilled=0.5)
        stage.telemetry("gpu3", broken="GPU-1 has fallen off the bus")
        stage.telemetry("gpu4", slow="GPU held down: hw_thermal")
        stage.telemetry("gpu5", foreign_bytes=20 * GIB)
        for said in (
            "gpu1 down: connection refused",
            "gpu2 gemma2:27b: the GPUs would hold all of it",
            "gpu3 GPU-1 has fallen off the bus",
            "gpu4 GPU held down: hw_thermal",
            "gpu5 other programs hold 20.0 GiB of GPU memory",
        ):
            await until(page, f"document.querySelector('#faults').textContent.includes({said.replace(' ', '', 1)!r})")
        assert await page.run("document.title") == "(5) Pointsman"
        await shows(page, "#instances li:nth-child(3) .tile.cpu", "8.5 GiB on the CPU")


async def test_faults_that_look_alike_have_a_line_each_and_leave_none(page: Page) -> None:
    stage = Stage(1, tick_s=0.05)
    stage.warnings += [f"HAProxy did not have gpu{number}, when it asked last" for number in (2, 3)]
    stage.warnings += ["took 1 s", "took 2 s"]
    lines = "[...document.querySelectorAll('#faults li')].map((one) => one.innerText).join('|')"
    async with stage.serving() as url:
        await opened(page, url)
        await until(page, lines, "|".join(stage.warnings))
        made = stage.dashboard.broadcast.made
        await page.run("window.first = document.querySelector('#faults li:last-child')")
        stage.warnings[2:] = ["took 3 s", "took 4 s"]
        await until(page, lines, "|".join(stage.warnings))
        assert stage.dashboard.broadcast.made > made
        assert await page.run("window.first === document.querySelector('#faults li:last-child')")
        del stage.warnings[0], stage.warnings[1:]
        await until(page, lines, "HAProxy did not have gpu3, when it asked last")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("count", [1, 8, 64])
async def test_every_width_holds_every_fleet(page: Page, count: int, scheme: str) -> None:
    stage = Stage(count)
    busy(stage)
    async with stage.serving() as url:
        await opened(page, url, 1600, scheme)
        await until(page, "document.querySelectorAll('.instance').length", count)
        await until(page, "document.querySelectorAll('#trend svg').length", 3)
        for width in (1600, 900, 360):
            await page.look(width, scheme=scheme)
            assert await page.run("document.documentElement.scrollWidth <= innerWidth"), width
            small = "[...document.querySelectorAll('.instance')].some((one) => one.offsetWidth < 60)"
            assert not await page.run(small), width
            if SHOTS:
                await page.shoot(Path(SHOTS) / f"{count}-{width}-{scheme}.png")
        paper = await page.run("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(13, 17, 23)") is (scheme == "dark")
        assert page.complaints == []


async def test_whoever_does_not_see_it_is_told(page: Page) -> None:
    """By the browser's own tree for screen readers: landmarks, names of all that can be pressed, tables with heads."""
    stage = Stage(3)
    busy(stage)
    async with stage.serving() as url:
        await opened(page, url)
        await until(page, "document.querySelectorAll('#decisions tr').length > 0")
        await until(page, "document.querySelectorAll('#trend svg').length", 3)
        nodes = (await page.do("Accessibility.getFullAXTree"))["nodes"]
    seen = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    roles = {role for role, _ in seen}
    assert {"banner", "main", "table", "columnheader", "rowheader", "heading", "list", "region"} <= roles
    for role, name in seen:
        assert name or role not in ("button", "textbox", "combobox", "image", "region", "link"), role
    assert any(role == "image" and name.startswith("First token: half within") for role, name in seen)
    assert any(name.startswith("GPU memory of gpu0") for _, name in seen)
