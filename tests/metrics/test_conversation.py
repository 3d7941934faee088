"""What the metrics say of HAProxy and the agent: over SPOP, with a scripted HAProxy."""

from spoe_agent import __version__
from spoe_agent.agent.ending import Ending, Line
from spoe_agent.fleet import Listen
from spoe_agent.haproxy.server import Server
from spoe_agent.process.listening import bind
from spoe_agent.rig.process import free_port
from tests.metrics.rig import Rig
from tests.peer import HELLO, Peer, question


async def test_questions_and_what_went_wrong():
    rig, address = Rig(), Listen("127.0.0.1", free_port())
    server = Server(rig.agent, rig.clock, rig.contact)
    server.listen(bind(address))
    try:
        async with Peer(address) as peer:
            await peer.opened()
            peer.send(question("a", 1, process="7-x"), question("nobody", 2, process="7-x"))
            await peer.answers(2)
            assert await rig.value("pointsman_questions_total") == 2
            # The handshake is a frame too.
            assert await rig.value("pointsman_spop_frames_total") == 3
            assert await rig.value("pointsman_spop_decision_seconds_count") == 2
            assert await rig.value("pointsman_haproxy_processes") == 1
            assert await rig.value("pointsman_spop_errors_total", side="haproxy") == 0
            peer.send(HELLO)
            await peer.goodbye()
    finally:
        await server.drain(0)
    assert await rig.value("pointsman_spop_errors_total", side="haproxy") == 1
    assert await rig.value("pointsman_spop_errors_total", side="agent") == 0


async def test_requests_that_fell_back():
    rig = Rig()
    for name, fell_back in (("r1", True), ("r2", False)):
        rig.contact.ended(Line(name, "g0", Ending(0.1, 0.2, True), fell_back=fell_back))
    assert await rig.value("pointsman_log_lines_total") == 2
    assert await rig.value("pointsman_fallbacks_total") == 1
    assert await rig.value("pointsman_build_info", version=__version__) == 1
