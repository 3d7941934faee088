"""The addon's hooks, on mitmproxy's own test flows."""

import asyncio
import json
import logging
import re
import runpy
import subprocess
import sys
from inspect import isfunction
from pathlib import Path

import pytest
from mitmproxy.exceptions import OptionsError
from mitmproxy.hooks import all_hooks
from mitmproxy.test import taddons

from spoe_agent.mitmproxy import hooks
from spoe_agent.mitmproxy.command import SCRIPT
from spoe_agent.mitmproxy.router import Router
from spoe_agent.routing import Health, InstanceState, LoadedModel
from spoe_agent.routing.names import canonical
from tests.mitmproxy.conftest import NOW_S, Bench, flow_of

FLEET = """
defaults: {max_connections: 1}
instances:
  - {name: gpu0, url: "http://127.0.0.1:11435"}
  - {name: gpu1, url: "http://127.0.0.1:11436"}
"""
ALPHA = canonical("alpha")
CHAT = b'{"model":"alpha"}'


PIN = "models: [{match: alpha, instances: [gpu0]}]"


@pytest.fixture
async def bench(tmp_path, request):
    """Two instances with alpha; gpu0 has it loaded. A parameter is further text of the fleet file."""
    running = await Bench(FLEET + getattr(request, "param", ""), tmp_path).start()
    for name, loaded in (("gpu0", {ALPHA: LoadedModel(1, 1)}), ("gpu1", {})):
        running.board.publish(name, InstanceState(Health.UP, loaded, NOW_S, {ALPHA: 40 * 10**9}, NOW_S))
    yield running
    running.stop()


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


SCRIPTS = pytest.mark.parametrize(
    "script", [SCRIPT, Path(__file__).parents[2] / "addon" / "route.py"], ids=["installed", "checkout"]
)


LOADED = "import sys, spoe_agent.mitmproxy.hooks; print(*sys.modules)"
NEEDLESS = ("spop", "haproxy", "admin", "process", "service", "serve", "surroundings", "rig", "simulator", "demo")


def test_what_is_haproxys_or_the_services_is_not_loaded():
    run = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    rooms = {name.split(".")[1] for name in run.stdout.split() if name.startswith("spoe_agent.")}
    assert not rooms.intersection(NEEDLESS)
    assert "agent" in rooms
    assert "pynvml" not in run.stdout


@SCRIPTS
def test_nothing_in_a_script_is_taken_for_a_hook(script):
    """mitmproxy calls whatever a script has under a hook's name, imported functions too."""
    names = runpy.run_path(str(script))
    assert not {name for name, value in names.items() if name in all_hooks and isfunction(value)}


@SCRIPTS
async def test_the_script_is_loaded_as_mitmproxy_does_it(script):
    with taddons.context() as context:
        loaded = context.script(str(script))
        (addon,) = loaded.addons
        assert type(addon).__name__ == "Pointsman"
        assert context.options.pointsman_fleet == ""


def test_nothing_else_is_in_the_folder_that_mitmproxy_puts_on_the_path():
    assert {path.name for path in SCRIPT.parent.glob("*.py")} == {"__init__.py", "route.py"}


async def test_a_request_goes_to_its_instance_as_ollama_wants_it(bench):
    flow = await bench.send(flow_of(body=CHAT, headers={"Host": "llm.local", "Origin": "http://localhost"}))
    assert (flow.request.scheme, flow.request.host, flow.request.port) == ("http", "127.0.0.1", 11435)
    assert flow.request.headers["host"] == "localhost"
    assert flow.request.headers["x-request-id"] == flow.id
    assert "origin" not in flow.request.headers
    assert flow.request.raw_content == CHAT
    assert flow.comment.startswith("gpu0: loaded | gpu1: room, ")
    assert flow.metadata["pointsman"]["instance"] == "gpu0"
    json.dumps(flow.metadata["pointsman"])  # plain data, so that mitmproxy can save it


async def answered(bench, flow):
    """An instance answers with headers."""
    flow.response = hooks.response_of(hooks.Reply(200, {"Vary": "Accept"}, b"{}"), "GET")
    bench.addon.responseheaders(flow)
    return flow.response


async def test_answers_pass_as_they_come_and_say_who_gave_them(bench):
    response = await answered(bench, await bench.send(flow_of(body=CHAT)))
    assert response.stream is True
    assert response.headers["x-pointsman"] == "gpu0 loaded"
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("bench", ["policies: {explain_header: false}"], indirect=True)
async def test_the_header_can_be_switched_off(bench):
    response = await answered(bench, await bench.send(flow_of(body=CHAT)))
    assert "x-pointsman" not in response.headers


async def test_a_page_that_may_call_is_told_so(bench):
    page = "http://localhost:3000"
    response = await answered(bench, await bench.send(flow_of(body=CHAT, headers={"Origin": page})))
    assert response.headers["access-control-allow-origin"] == page
    assert response.headers.get_all("vary") == ["Accept", "Origin"]


async def test_foreign_pages_and_preflights_reach_no_instance(bench):
    foreign = await bench.send(flow_of(body=CHAT, headers={"Origin": "https://evil.example"}))
    assert foreign.response.status_code == 403
    assert "https://evil.example" in json.loads(foreign.response.content)["error"]
    assert foreign.response.headers["x-pointsman"] == "- foreign origin"
    assert foreign.comment == "403: foreign origin"
    strange = await bench.send(flow_of(body=CHAT, headers={"Host": "evil.example"}))
    assert (strange.response.status_code, strange.response.headers["x-pointsman"]) == (403, "- foreign host")
    asked = {"Origin": "http://localhost", "Access-Control-Request-Headers": "x-a"}
    preflight = await bench.send(flow_of(method="OPTIONS", headers=asked))
    assert preflight.response.status_code == 204
    assert preflight.response.headers["access-control-allow-headers"] == "x-a"
    assert "content-length" not in preflight.response.headers
    assert not bench.tried


async def test_uploads_are_not_waited_for(bench):
    flow = flow_of("/api/blobs/sha256:0", b"")
    await bench.addon.requestheaders(flow)
    assert flow.request.stream is True
    assert flow.request.port == 11435
    await bench.addon.request(flow)
    assert len(bench.tried) == 1


KEYS = 'keys: {file: "/nowhere/keys.json"}\nlisteners: {front: "127.0.0.1:11434"}'
LIMITS = "policies: {max_header: 4KiB, max_body: 1KiB}"
TOO_MUCH = {
    "no key": (KEYS, {}, b"", 401),
    "large headers": (LIMITS, {"X-A": "a" * 5000}, b"", 431),
    "a large body to come": (LIMITS, {"Content-Length": "1025"}, b"", 413),
    "a body as large as may be": (LIMITS, {"Content-Length": "1024"}, b"", None),
}


@pytest.mark.parametrize(("bench", "headers", "body", "status"), TOO_MUCH.values(), ids=TOO_MUCH, indirect=["bench"])
async def test_who_is_turned_away_is_so_before_a_body_is_read(bench, headers, body, status):
    flow = flow_of(body=body, headers=headers)
    await bench.addon.requestheaders(flow)
    assert (flow.response and flow.response.status_code) == status
    await bench.addon.request(flow)
    assert len(bench.tried) == 0 or status is None


@pytest.mark.parametrize("bench", [LIMITS], indirect=True)
async def test_a_body_whose_size_nobody_said_is_too_large_when_it_is_there(bench):
    flow = flow_of(body=CHAT)
    await bench.addon.requestheaders(flow)
    assert flow.response is None
    flow.request.raw_content = CHAT + b" " * 1024
    await bench.addon.request(flow)
    assert flow.response.status_code == 413


async def test_all_instances_refuse(bench):
    bench.refusing = {"gpu0", "gpu1"}
    flow = await bench.send(flow_of("/v1/chat/completions", CHAT))
    assert (flow.response.status_code, flow.response.headers["retry-after"]) == (503, "5")
    assert json.loads(flow.response.content)["error"]["message"].startswith("no Ollama instance")
    assert len(bench.tried) == 2
    assert bench.board.grants == 0


async def test_another_instance_when_one_refuses(bench):
    bench.refusing = {"gpu0"}
    flow = await bench.send(flow_of(body=CHAT))
    assert (flow.request.port, flow.response) == (11436, None)
    assert (bench.slots.taken("gpu0"), bench.slots.taken("gpu1"), bench.board.grants) == (0, 1, 1)


ENDS = {
    "answered": lambda addon, flow: addon.response(flow),
    "failed": lambda addon, flow: addon.error(flow),
    "failed, then hung up": lambda addon, flow: (addon.error(flow), addon.client_disconnected(flow.client_conn)),
    "hung up": lambda addon, flow: addon.client_disconnected(flow.client_conn),
    "told twice": lambda addon, flow: (addon.response(flow), addon.client_disconnected(flow.client_conn)),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_the_end_of_a_request_frees_its_connection(bench, end):
    flow = await bench.send(flow_of(body=CHAT))
    assert (bench.slots.taken("gpu0"), bench.board.grants) == (1, 1)
    end(bench.addon, flow)
    assert (bench.slots.taken("gpu0"), bench.board.grants) == (0, 0)


@pytest.mark.parametrize("bench", [PIN], indirect=True)
async def test_who_comes_first_is_served_first_and_who_left_is_passed_over(bench):
    await bench.send(first := flow_of(body=CHAT))
    later = [flow_of(body=CHAT) for _ in range(3)]
    for flow in later:
        flow.client_conn.id = flow.id
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(bench.send(flow)) for flow in later]
        await settle()
        assert len(bench.agent.hold) == 3
        bench.addon.client_disconnected(later[0].client_conn)
        bench.addon.response(first)
        await tasks[1]
        assert (tasks[0].done(), tasks[2].done()) == (True, False)
        assert (bench.slots.taken("gpu0"), len(bench.agent.hold)) == (1, 1)
        bench.addon.error(later[1])
    # Not sent anywhere: mitmproxy drops what was killed.
    assert later[0].error.msg == later[0].error.KILLED_MESSAGE
    assert [flow.request.port for flow in later[1:]] == [11435, 11435]


class Broken(Router):
    async def route(self, request):
        raise RuntimeError(repr(request))


BODIES = [
    ("/api/chat", ("error",)),
    ("/v1/chat/completions", ("error", "message")),
    ("/v1/messages", ("error", "message")),
]


@pytest.mark.parametrize(("path", "keys"), BODIES)
async def test_a_bug_is_answered_and_logged_and_goes_nowhere(bench, path, keys, logs):
    broken = hooks.Pointsman(Broken())
    broken.fleet = bench.fleet
    flow = flow_of(path, CHAT)
    await broken.requestheaders(flow)
    await broken.request(flow)
    assert flow.response.status_code == 500
    told = json.loads(flow.response.content)
    for key in keys:
        told = told[key]
    assert told == "the proxy failed on this request; its log has the details"
    (record,) = [record for record in logs.records if record.levelno == logging.ERROR]
    assert flow.id in record.getMessage()
    assert record.getMessage().endswith("\nRuntimeError\n")
    assert "RequestFacts(" not in logs.text


async def test_flows_that_others_answered_are_left_alone(bench):
    flow = flow_of(body=CHAT)
    flow.response = answer = hooks.response_of(hooks.Reply(418), "GET")
    await bench.addon.request(flow)
    bench.addon.responseheaders(flow)
    assert flow.response is answer
    assert not bench.tried
    replayed = flow_of(body=CHAT)
    replayed.live = False
    await bench.addon.request(replayed)
    assert not bench.tried


async def test_what_an_answer_took_is_learned(bench):
    asks = b'{"model":"alpha","messages":[{"role":"user","content":"x"}]}'
    for _ in range(4):
        flow = await bench.send(flow_of(body=asks))
        await answered(bench, flow)
        bench.addon.response(flow)
    model, _ = next(iter(bench.agent.learner.learned(NOW_S + 60).service_s))
    assert model == ALPHA


async def test_a_flow_that_is_replayed_is_routed_again(bench):
    flow = await bench.send(flow_of(body=CHAT))
    bench.addon.error(flow)
    flow.error = None
    await bench.send(flow)
    assert len(bench.tried) == 2
    assert bench.slots.taken("gpu0") == 1


async def test_a_bad_fleet_file_is_told_line_by_line(tmp_path, logs):
    """A script's own OptionsError would come with a traceback; one error in the log ends mitmproxy's start as well."""
    file = tmp_path / "fleet.yaml"
    file.write_text("instances: [{name: gpu0, url: nonsense}]\n")
    addon = hooks.Pointsman()
    with taddons.context(addon) as context:
        context.configure(addon, pointsman_fleet=str(file))
        assert f"{file}:1: instances[0].url" in logs.text
        assert addon.fleet is None
        file.write_text(FLEET)
        context.configure(addon, pointsman_fleet=f"{tmp_path}/./fleet.yaml")
        assert [instance.name for instance in addon.fleet.instances] == ["gpu0", "gpu1"]


@pytest.mark.parametrize(("text", "why"), [("instances: 7\n", ":1: instances: "), (None, ": cannot be read: ")])
async def test_whoever_sets_a_bad_fleet_file_is_told_and_nothing_changes(bench, tmp_path, text, why):
    """Nor does it when the file before has become bad meanwhile."""
    bad = tmp_path / "bad.yaml"
    if text is not None:
        bad.write_text(text)
    flow = await bench.send(flow_of(body=CHAT))
    bench.file.write_text("instances: 7\n")
    with pytest.raises(OptionsError, match=re.escape(str(bad) + why)):
        bench.context.options.update(pointsman_fleet=str(bad))

    assert bench.context.options.pointsman_fleet == str(bench.file)
    await settle()
    assert len(bench.starts) == 1
    bench.addon.response(flow)
    assert (await bench.send(flow_of(body=CHAT))).metadata["pointsman"]["instance"] == "gpu0"


async def test_another_fleet_file_is_taken(bench, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(FLEET.replace("11435", "11535"))
    await settle()
    bench.context.options.update(pointsman_fleet=str(other))
    await settle()
    assert [fleet.instances[0].port for fleet in bench.starts] == [11435, 11535]


async def test_a_script_that_began_without_a_fleet_starts_with_the_first(tmp_path, logs):
    bench = Bench(FLEET, tmp_path)
    bench.file.rename(tmp_path / "later.yaml")
    await bench.start()
    assert f"{bench.file}: cannot be read: " in logs.text
    bench.context.options.update(pointsman_fleet=str(tmp_path / "later.yaml"))
    await settle()
    assert len(bench.starts) == 1
    bench.stop()


async def test_reverse_mode_connects_nowhere_by_itself(bench):
    assert bench.context.options.connection_strategy == "lazy"
    assert bench.context.options.keep_host_header is True
