"""What every folder of tests shares: on which event loops a module's tests run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]] | None:
    """Run a module's asynchronous tests on each loop of its constant LOOPS; without one, on asyncio's own."""
    return getattr(item.getparent(pytest.Module).obj, "LOOPS", None)
