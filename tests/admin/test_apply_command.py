"""`pointsman apply` as a process that is ended in the middle."""

import signal

import pytest
from aiohttp import web

from spoe_agent.fleet.file import EditedFile
from spoe_agent.rig.process import Process, free_port
from spoe_agent.rig.stack import POINTSMAN

FLEET = """
instances: [{{name: gpu0, url: "http://h:1"}}]
listeners: {{admin: "127.0.0.1:{port}", front: "127.0.0.1:{front}", again: "127.0.0.1:{again}"}}
haproxy: {{files: {folder}/haproxy, test: "touch {folder}/testing; sleep 60; true", reload: "'true'"}}
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_whoever_ends_it_has_it_undone(tmp_path, number):
    port, file = free_port(), EditedFile(tmp_path / "fleet.yaml")
    file.path.write_text(FLEET.format(port=port, front=free_port(), again=free_port(), folder=tmp_path))

    async def status(_):
        fleet = {"digest": file.read().digest, "needs_restart": [], "holds": True, "reload_haproxy": "'true'"}
        return web.json_response({"fleet": fleet, "haproxy": {"processes": [], "missing": []}})

    async def testing():
        return (tmp_path / "testing").exists()

    app = web.Application()
    app.add_routes([web.get("/status", status)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        async with Process("apply", [*POINTSMAN, "apply", "--fleet", file.path], tmp_path) as process:
            await process.ready(testing)
            process.signal(number)
            assert await process.wait() == 1
        checked, written, undone, refusal = process.tail().splitlines()
        assert checked.endswith("ok") and written.endswith("written") and undone.startswith("undone: ")
        assert refusal == "Error: not applied: interrupted"
        assert [path for path in (tmp_path / "haproxy").rglob("*") if path.is_file()] == []
    finally:
        await runner.cleanup()
