"""The HAProxy of `up` is its own: what the fleet file says of another one, which may run, is left alone."""

import socket
import tempfile
from pathlib import Path

import pytest

from spoe_agent.fleet import load
from spoe_agent.haproxy import program
from spoe_agent.haproxy.models_map import MODELS_MAP
from spoe_agent.haproxy.render import haproxy_files, write
from tests.up.rig import READY, fleet_file, session, up

pytestmark = pytest.mark.skipif(program.find() is None, reason="HAProxy is not installed")


async def test_neither_its_files_nor_its_socket_are_touched(tmp_path):
    files = tmp_path / "production"
    with tempfile.TemporaryDirectory(prefix="pm-") as folder, socket.socket(socket.AF_UNIX) as production:
        production.bind(f"{folder}/admin.sock")
        production.listen()
        section = {"files": str(files), "runtime": f"{folder}/admin.sock", "spop": "unix@/in-a-chroot.sock"}
        fleet_file(tmp_path / "fleet.yaml", haproxy=section)
        write(haproxy_files(load(tmp_path / "fleet.yaml")), files)
        with (files / "haproxy.cfg").open("a") as config:
            config.write("# by hand\n")
        before = contents(files)
        async with up(tmp_path, "--simulate", again=True) as run, session() as client:
            await run.says(READY)
            status, where, _ = await run.ask("small", client)
            assert status == 200 and not where.endswith("fallback"), "HAProxy has asked the agent"
            said = await run.says("HAProxy's map of models is kept current")
            own = Path(said.partition("place=")[2].split()[0])
            assert own.is_socket() and own.stat().st_mode & 0o777 == 0o600
            assert (await run.end()) == 0
        assert contents(files) == before and MODELS_MAP in before
        production.setblocking(False)
        with pytest.raises(BlockingIOError):
            production.accept()
        assert not own.parent.exists()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_what_haproxy_refuses_is_said_before_anything_starts(tmp_path):
    """A folder for its socket whose path is too long for one."""
    long = tmp_path / ("x" * 100)
    long.mkdir()
    async with up(tmp_path, "--simulate", environment={"TMPDIR": str(long)}) as run:
        assert await run.process.wait() == 1
    assert "Error: nothing was started:" in run.lines
    assert any("HAProxy refuses its files" in line and "too long" in line for line in run.lines), run.lines
