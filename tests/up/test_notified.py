"""What the agent tells `up`, over a real socket."""

from spoe_agent.process.systemd import notify
from spoe_agent.up.notified import Notified
from tests.serving import until


async def test_ready_and_who_follows(monkeypatch):
    with Notified.open() as notified:
        monkeypatch.setenv("NOTIFY_SOCKET", notified.address)
        assert not notified.is_ready
        notify("READY=1")
        await until(lambda: notified.is_ready)
        notify("MAINPID=4711", "WATCHDOG=1")
        await until(lambda: notified.main_pid == 4711)
