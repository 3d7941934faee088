"""What `up` makes of the agent's answers, at a whole agent's admin port."""

import asyncio

import pytest

from spoe_agent.keys.entry import Key, hash_of
from spoe_agent.keys.file import change
from spoe_agent.keys.operators import VARIABLE
from spoe_agent.up import health
from tests.dashboard.stage import Stage
from tests.serving import DEADLINE_S


@pytest.fixture
def stage(tmp_path, monkeypatch):
    file = tmp_path / "keys.json"
    change(file, lambda _: (Key(name="b", hash=hash_of("manages"), manage=True),))
    monkeypatch.setenv(VARIABLE, "manages")
    return Stage(1, keys=str(file))


async def test_a_refusal_is_no_answer_and_ends_nothing(stage, monkeypatch):
    """As when its key is revoked while it runs."""
    said = []
    monkeypatch.setenv(VARIABLE, "wrong")
    async with stage.serving():
        await health.preloaded(stage.listen, said.append, within_s=0.1)
        following = asyncio.ensure_future(health.follow(stage.listen, said.append))
        monkeypatch.setenv(VARIABLE, "manages")
        async with asyncio.timeout(DEADLINE_S):
            while not said:
                assert not following.done()
                await asyncio.sleep(0.01)
        following.cancel()
    assert said == ["gpu0 is up, loaded: nothing"]


async def test_nobody_waits_where_nothing_is_to_be_loaded(stage):
    said = []
    async with stage.serving(), asyncio.timeout(DEADLINE_S):
        await health.preloaded(stage.listen, said.append)
    assert said == []
