"""The addon with mitmproxy's own test kit: no sockets, no processes."""

import logging
import warnings
from pathlib import Path

import pytest
import structlog

with warnings.catch_warnings():
    # mitmproxy's own dependencies use what is deprecated.
    warnings.simplefilter("ignore")
    import mitmproxy.tools.main  # noqa: F401
    from mitmproxy.test import taddons, tflow

from spoe_agent.fleet import loads
from spoe_agent.mitmproxy import hooks
from spoe_agent.mitmproxy.router import Router
from spoe_agent.mitmproxy.slots import Slots
from tests.mitmproxy.parts import parts

NOW_S = 1000.0


class Bench:
    """An addon on a fleet that needs no instances: readings are published, and `refusing` ones do not connect."""

    def __init__(self, text, folder):
        self.file = Path(folder) / "fleet.yaml"
        self.file.write_text(text)
        self.fleet = loads(text)
        self.parts = parts(self.fleet, lambda: NOW_S)
        self.agent, self.board = self.parts.agent, self.parts.board
        self.slots = Slots()
        self.refusing = set()
        self.tried = []
        self.starts = []
        self.addon = hooks.Pointsman(Router(self.assemble, self.connects, self.slots))

    async def assemble(self, fleet, session, learner):
        self.starts.append(fleet)
        return self.parts

    async def connects(self, host, port):
        self.tried.append((host, port))
        (name,) = [one.name for one in self.fleet.instances if (one.host, one.port) == (host, port)]
        return name not in self.refusing

    async def start(self):
        """Do what mitmproxy does at its start, with a mode of the user's own."""
        self.context = taddons.context(self.addon)
        self.context.options.add_option("connection_strategy", str, "eager", "")
        self.context.options.add_option("keep_host_header", bool, False, "")
        self.context.options.update(mode=["reverse:http://127.0.0.1:1@127.0.0.1:0"], pointsman_fleet=str(self.file))
        self.context.configure(self.addon, pointsman_fleet=str(self.file))
        self.addon.running()
        return self

    def stop(self):
        self.addon.done()

    async def send(self, flow):
        """Put a flow through the hooks up to where mitmproxy connects or answers."""
        await self.addon.requestheaders(flow)
        await self.addon.request(flow)
        if flow.response:
            self.addon.responseheaders(flow)
            self.addon.response(flow)
        return flow


def flow_of(path="/api/chat", body=b"", method="POST", headers=()):
    """A live flow as reverse mode makes it."""
    request = tflow.tflow(req=tflow.treq(path=path.encode(), method=method.encode(), content=body))
    request.request.headers.clear()
    request.request.headers.update(dict(headers))
    request.response = None
    request.live = True
    return request


@pytest.fixture
def logs(caplog):
    caplog.set_level(logging.INFO)
    yield caplog
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def own_log():
    """The addon turns the core's log towards mitmproxy's; other tests shall not see that."""
    yield
    structlog.reset_defaults()
