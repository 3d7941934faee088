"""HAProxy's files: what is in them, and what HAProxy itself makes of them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from spoe_agent.fleet import load, loads
from spoe_agent.fleet.schema import OLLAMA_ORIGINS
from spoe_agent.haproxy.models_map import MODELS_MAP
from spoe_agent.haproxy.render import (
    BODY_HEADROOM_BYTES,
    OWN_ERRORS,
    REJECTIONS,
    all_but,
    haproxy_files,
    write,
)
from spoe_agent.rig.haproxy import find_haproxy, version
from spoe_agent.rig.process import Process, RigError, accepts, free_port
from spoe_agent.routing import ModelRule
from spoe_agent.routing.names import canonical, is_cloud
from spoe_agent.routing.specs import FleetSpec
from tests.fleet.lines import INSTANCE

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def config(text: str = "") -> str:
    """Return haproxy.cfg of one instance and these further sections."""
    return haproxy_files(loads(f"instances: [{INSTANCE}]\n{text}"))["haproxy.cfg"]


def binaries() -> list[str]:
    """Return every HAProxy there is to ask: the installed one, and those in the folder $HAPROXIES."""
    try:
        found = [find_haproxy()]
    except RigError:
        return []
    folder = os.environ.get("HAPROXIES")
    if folder:
        found += sorted(str(path) for path in Path(folder).iterdir() if path.is_file() and os.access(path, os.X_OK))
    return list({version(binary): binary for binary in found}.values())


BINARIES = binaries() or [pytest.param("", marks=pytest.mark.skip(reason="HAProxy is not installed"))]
on_each_haproxy = pytest.mark.parametrize("binary", BINARIES, ids=lambda binary: binary and Path(binary).name)


@pytest.mark.parametrize("name", ["expect", "content-length", "transfer-encoding"])
def test_no_header_but_those_of_bodies_is_taken_off(name: str) -> None:
    others = re.compile(all_but(("content-length", "transfer-encoding", "expect")))
    assert not others.search(name)
    like = [name[:-1], f"{name}s", f"x{name}", f"{name[:3]}y{name[4:]}", "e", "c", "content", "content-encoding", "te"]
    assert all(others.search(other) for other in like)


def accepted(binary: str, *files: Path) -> None:
    """Assert that HAProxy takes these files, with nothing to remark, on the stack that services get (8 MiB)."""
    command = ["sh", "-c", 'ulimit -s 8192 && exec "$@"', "sh", binary, "-c"]
    command += [part for file in files for part in ("-f", str(file))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    unknown = "could not resolve address"  # 2.6 warns of names, later ones only mention them
    assert [line for line in done.stderr.splitlines() if "[WARNING]" in line and unknown not in line] == []


def test_the_folder_is_what_the_example_fleet_gives() -> None:
    folder = ROOT / "haproxy"
    found = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert found == haproxy_files(load(ROOT / "examples" / "fleet.yaml"))


@on_each_haproxy
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_haproxy_takes_every_example(binary: str, example: Path, tmp_path: Path) -> None:
    write(haproxy_files(load(example)), tmp_path)
    accepted(binary, tmp_path / "haproxy.cfg")


UNUSUAL = {
    "IPv6": """
listeners: {front: "[::1]:11434", spop: ["[::1]:9601", "unix@/tmp/spop.sock"], log: "[::1]:9603"}
instances: [{name: g0, url: "http://[::1]:11435"}]
""",
    "host names": 'instances: [{name: a.b-c_d, url: "http://localhost:11435"}]',
    "names that nobody knows": """
listeners: {spop: "agent.invalid:9601", trusted_network: true}
instances: [{name: g0, url: "http://ollama.invalid:11435"}]
""",
    "behind proxies": """
instances:
  - {name: g0, url: "https://localhost:443/ollama"}
  - {name: g1, url: "http://127.0.0.1:80/ollama"}
  - {name: g2, url: "https://ollama.invalid:443"}
""",
    "patterns": """
instances: [{name: g0, url: "http://127.0.0.1:1"}]
models:
  - {match: "llama3.[12]:*", instances: [g0]}
  - {match: "[!a-c]*?x", instances: [g0]}
  - {match: "a*b*c*", instances: [g0]}
  - {match: "hf.co/A/B:Q4_K_M"}
  - {match: "*", instances: [g0]}
""",
    "origins": """
instances: [{name: g0, url: "http://127.0.0.1:1"}]
policies: {allowed_origins: ["*", "null", "https://*.example.com:(8|9)[0]+$"]}
""",
    "hosts": 'instances: [{name: g0, url: "http://127.0.0.1:1"}]\npolicies: {allowed_hosts: ["*.example.com", "::1"]}',
    "proxies": """
instances: [{name: g0, url: "http://127.0.0.1:1"}]
policies: {trusted_proxies: [10.0.0.0/8, "fd00::/8", 192.0.2.7]}
""",
    "no origins": 'instances: [{name: g0, url: "http://127.0.0.1:1"}]\npolicies: {allowed_origins: []}',
    "large bodies": 'instances: [{name: g0, url: "http://127.0.0.1:1"}]\npolicies: {max_inspected_body: 128MiB}',
    "short times": """
instances: [{name: g0, url: "http://127.0.0.1:1"}]
policies: {client_timeout: 2ms, response_timeout: 1.5s, queue_timeout: 1ms, explain_header: false}
""",
    "no holding": 'instances: [{name: g0, url: "http://127.0.0.1:1"}]\npolicies: {hold_timeout: 0s}',
    "forty instances": "instances:\n" + "".join(f'  - {{name: g{n}, url: "http://10.0.0.{n}:1"}}\n' for n in range(40)),
}


@on_each_haproxy
@pytest.mark.parametrize("text", UNUSUAL.values(), ids=UNUSUAL)
def test_haproxy_takes_unusual_fleets(binary: str, text: str, tmp_path: Path) -> None:
    write(haproxy_files(loads(text)), tmp_path)
    accepted(binary, tmp_path / "haproxy.cfg")


OWN = """
global
    maxconn 100
defaults
    mode tcp
    timeout connect 1s
    timeout client 1s
    timeout server 1s
frontend own
    bind 127.0.0.1:1
    default_backend theirs
backend theirs
    server one 127.0.0.1:2
"""


@on_each_haproxy
def test_it_stands_beside_a_configuration_of_the_users_own(binary: str, tmp_path: Path) -> None:
    write(haproxy_files(load(ROOT / "examples" / "fleet.yaml")), tmp_path / "pointsman")
    (tmp_path / "own.cfg").write_text(OWN)
    accepted(binary, tmp_path / "own.cfg", tmp_path / "pointsman" / "haproxy.cfg")


def section(text: str, head: str) -> str:
    """Return the part of haproxy.cfg that begins so, up to the next one."""
    return re.split(
        r"^(?=(?:frontend|backend|defaults|global)\b)", text[text.index(head) + 1 :], maxsplit=1, flags=re.M
    )[0]


def servers(text: str, backend: str = "pointsman_ollama") -> list[str]:
    return re.findall(r"^    server (.*)$", section(text, f"backend {backend} "), re.M)


def test_instances_are_servers() -> None:
    text = haproxy_files(loads(UNUSUAL["IPv6"]))["haproxy.cfg"]
    assert servers(text)[-1].startswith("g0 [::1]:11435 maxconn 3")
    assert "    bind [::1]:11434\n" in text
    assert "    log [::1]:9603 len 8192 format raw local0 info\n" in text


def test_of_several_addresses_of_the_agent_the_first_is_asked_and_the_others_stand_by() -> None:
    text = config("listeners: {spop: [unix@/run/a.sock, 127.0.0.1:9601, '[::1]:9602']}")
    found = servers(text, "pointsman_agent")
    checked = "check inter 500ms fastinter 100ms downinter 250ms fall 2 rise 1"
    assert found == [
        f"agent1 unix@/run/a.sock {checked}",
        f"agent2 127.0.0.1:9601 {checked} backup",
        f"agent3 [::1]:9602 {checked} backup",
    ]


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("", "127.0.0.1:9601"),
        ("listeners: {spop: unix@/run/a.sock}", "unix@/run/a.sock"),
        ("listeners: {spop: 0.0.0.0:9601, trusted_network: true}", "127.0.0.1:9601"),
        ("listeners: {spop: 0.0.0.0:9601, trusted_network: true}\nhaproxy: {spop: agent.lan:9601}", "agent.lan:9601"),
        ("listeners: {spop: unix@/var/lib/haproxy/a.sock}\nhaproxy: {spop: unix@/a.sock}", "unix@/a.sock"),
    ],
)
def test_haproxy_asks_where_it_sees_the_agent(written: str, address: str) -> None:
    (agent,) = (server for server in servers(config(written), "pointsman_agent") if server.startswith("agent1 "))
    assert re.match(rf"agent1 {re.escape(address)}( init-addr .*)? check ", agent)


def test_one_instance_is_no_plural() -> None:
    assert config().startswith("# Pointsman in front of 1 Ollama instance.\n")


def test_policies_are_settings() -> None:
    text = config(
        "policies: {max_inspected_body: 1MiB, client_timeout: 7s, response_timeout: 90s, queue_timeout: 1.5s}"
    )
    assert f"    tune.bufsize {(1 << 20) + BODY_HEADROOM_BYTES}\n" in text
    assert f"acl beyond req.body_size ge {1 << 20}\n" in text
    assert {"timeout client 7s", "timeout server 90s", "timeout queue 1500ms"} <= {
        line.strip() for line in text.splitlines()
    }


@pytest.mark.parametrize(("explain", "headers"), [("true", 3), ("false", 0)])
def test_the_header_that_explains_can_be_left_out(explain: str, headers: int) -> None:
    text = config(f"policies: {{explain_header: {explain}}}")
    assert section(text, "frontend pointsman ").count("set-header x-pointsman ") == headers
    # From one pass to the one before it, it tells who served.
    assert section(text, "frontend pointsman_again ").count("set-header x-pointsman ") == 3


def test_every_error_has_its_body() -> None:
    files = haproxy_files(loads(f"instances: [{INSTANCE}]"))
    named = set(re.findall(r"lf-file (\S+)", files["haproxy.cfg"]))
    assert named == {name for name in files if name.startswith("errors/")}
    lines = re.findall(r"http-error status (\d+) (.*)", files["haproxy.cfg"])
    assert [int(status) for status, _ in lines] == list(OWN_ERRORS)
    assert {status for status, rest in lines if "Retry-After 5" in rest} == {"503"}


def test_only_who_may_come_back_is_told_when() -> None:
    lines = re.findall(r"return status (\d+) (.*) if rejected(.*)", section(config(), "frontend pointsman "))
    at_the_door = [int(status) for status, _, condition in lines if condition]
    assert at_the_door == list(REJECTIONS)
    assert {status for status, rest, _ in lines if "Retry-After" in rest} == {"429", "503"}


def test_files_are_written_over_and_folders_made(tmp_path: Path) -> None:
    write({"a/b.txt": "old", "c.txt": "c"}, tmp_path / "new" / "folder")
    write({"a/b.txt": "new"}, tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder" / "a" / "b.txt").read_text() == "new"
    assert (tmp_path / "new" / "folder" / "c.txt").read_text() == "c"


@pytest.mark.parametrize(
    ("front", "policies", "is_checked"),
    [
        ("127.0.0.1:11434", "{}", True),
        ("localhost:11434", "{}", True),
        ("'[::1]:11434'", "{}", True),
        ("0.0.0.0:11434", "{}", False),
        ("192.168.0.9:11434", "{}", False),
        ("0.0.0.0:11434", "{allowed_hosts: [llm.example.com]}", True),
    ],
)
def test_host_names_are_checked_where_it_is_known_which_are_right(front: str, policies: str, is_checked: bool) -> None:
    text = config(f"listeners: {{front: {front}, insecure: true}}\npolicies: {policies}")
    assert ("foreign host" in text) is is_checked


PROXIED = """
instances:
  - {name: far, url: "https://gpu.example:443/ollama", ca_file: "/etc/it's ours.pem"}
  - {name: near, url: "http://127.0.0.1:11435"}
  - {name: known, url: "https://gpu-box:8443"}
"""


def test_what_is_behind_a_proxy_is_passed_on_by_a_proxy_of_haproxys_own(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("10.0.0.7 gpu-box\n")
    text = haproxy_files(loads(PROXIED), hosts)["haproxy.cfg"]
    assert [line.split(" maxconn")[0] for line in servers(text) if "maxconn" in line] == [
        "far 127.0.0.1:9610",
        "near 127.0.0.1:11435",
        "known 127.0.0.1:9611",
    ]
    sections = {name: lines for name, lines in re.findall(r"^listen (\w+) .*\n((?:    .*\n)*)", text, re.M)}
    assert {name: lines.splitlines() for name, lines in sections.items()} == {
        "pointsman_to_far": [
            "    bind 127.0.0.1:9610",
            "    http-request set-header Host gpu.example",
            "    http-request del-header x-pointsman- -m beg",
            "    http-request set-path /ollama%[path]",
            "    server far gpu.example:443 init-addr last,libc,none resolvers pointsman_dns resolve-prefer ipv4"
            r" ssl verify required ca-file '/etc/it'\''s ours.pem' sni str(gpu.example)",
        ],
        "pointsman_to_known": [
            "    bind 127.0.0.1:9611",
            "    http-request set-header Host gpu-box:8443",
            "    http-request del-header x-pointsman- -m beg",
            "    server known gpu-box:8443 init-addr last,libc,none"
            " ssl verify required ca-file @system-ca sni str(gpu-box)",
        ],
    }


def test_without_proxies_and_names_nothing_is_said_of_them() -> None:
    assert not re.search("resolvers|onward|unreached|listen ", config())


def test_ollamas_own_origins_are_let_in_by_default() -> None:
    lines = haproxy_files(loads(f"instances: [{INSTANCE}]"))["origins.lst"].splitlines()
    assert len(lines) == len(OLLAMA_ORIGINS)
    for asked in ("http://localhost:8080", "https://127.0.0.1", "tauri://localhost", "vscode-webview://x"):
        assert any(re.search(line, asked) for line in lines), asked
    assert not any(re.search(line, "https://example.com") for line in lines)


PINS = """
instances: [{name: g0, url: "http://127.0.0.1:1"}, {name: g1, url: "http://127.0.0.1:2"}]
models:
  - {match: "llama3", instances: [g1, g0]}
  - {match: "spared:7b"}
  - {match: "Qwen2.5:72b*", instances: [g0]}
  - {match: "phi[34]:*", instances: [g1]}
  - {match: "*embed*", instances: [g0]}
  - {match: "registry.ollama.ai/library/mistral:7b", instances: [g1]}
  - {match: "hf.co/*", instances: [g0]}
  - {match: "you/own", instances: [g1]}
  - {match: "reg.example:5000/a/b", instances: [g0]}
  - {match: "?pared:*", instances: [g1]}
"""
NAMES = {
    "llama3": ("g1", "g0"),
    "llama3:latest": ("g1", "g0"),
    "LLAMA3:Latest": ("g1", "g0"),
    "library/llama3": ("g1", "g0"),
    "registry.ollama.ai/library/llama3": ("g1", "g0"),
    "https://registry.ollama.ai/library/llama3:latest": ("g1", "g0"),
    "http://registry.ollama.ai/library/llama3": ("g1", "g0"),
    "llama3:8b": None,
    "llama3.1": None,
    "my-llama3": None,
    "ns/llama3": None,
    "hf.co/library/llama3": ("g0",),
    "spared:7b": None,
    "library/spared:7b": None,
    "llama3:latest:local": ("g1", "g0"),
    "llama3:local": ("g1", "g0"),
    "llama3:cloud": None,
    "llama3:8b-cloud": None,
    "spared:8b": ("g1",),
    "spared": ("g1",),
    "qwen2.5:72b": ("g0",),
    "qwen2.5:72b-instruct-q4_K_M": ("g0",),
    "qwen2x5:72b": None,
    "qwen2.5": None,
    "phi3": ("g1",),
    "phi4:14b": ("g1",),
    "phi5": None,
    "nomic-embed-text": ("g0",),
    "library/mxbai-embed-large:335m": ("g0",),
    "mistral:7b": ("g1",),
    "library/mistral:7b": ("g1",),
    "mistral": None,
    "hf.co/Some/Model-GGUF:Q4_K_M": ("g0",),
    "hf.co/some/model": ("g0",),
    "hfxco/some/model": None,
    "you/own": ("g1",),
    "registry.ollama.ai/you/own": ("g1",),
    "you/own:v2": None,
    "reg.example:5000/a/b": ("g0",),
    "reg.example:5000/a/b:latest": ("g0",),
}


def test_the_table_of_names_is_what_the_agent_says() -> None:
    fleet = loads(PINS)
    rules = FleetSpec((), tuple(ModelRule(rule.match, instances=rule.instances) for rule in fleet.models))
    keys = {name: canonical(name) for name in NAMES}
    assert {name: None if is_cloud(key) else rules.rule(key).instances for name, key in keys.items()} == NAMES


@asynccontextmanager
async def pins(binary: str, folder: Path) -> AsyncIterator[str]:
    """Yield the URL of a HAProxy that answers with the instances of the model in `X-Model`, by the rendered rules."""
    text = haproxy_files(loads(PINS))
    name, lookup = re.findall(r"(http-request set-var\(txn\.pm_(?:name\) '|has\) var).*) if ", text["haproxy.cfg"])[:2]
    port = free_port()
    (folder / MODELS_MAP).write_text(text[MODELS_MAP])
    (folder / "pins.cfg").write_text(f"""
global
    default-path config
defaults
    mode http
    timeout client 30s
frontend pins
    bind 127.0.0.1:{port}
    http-request set-var(txn.pm_model) req.hdr(x-model)
    {name}
    {lookup}
    http-request return status 200 content-type text/plain lf-string "%[var(txn.pm_has)]"
""")
    async with Process("haproxy", [binary, "-db", "-f", folder / "pins.cfg"], folder) as haproxy:
        await haproxy.ready(lambda: accepts("127.0.0.1", port))
        yield f"http://127.0.0.1:{port}/"


@on_each_haproxy
async def test_without_the_agent_haproxy_pins_as_the_agent_would(binary: str, tmp_path: Path) -> None:
    found: dict[str, list[str]] = {}
    async with pins(binary, tmp_path) as url, aiohttp.ClientSession() as session:
        for name in NAMES:
            async with session.get(url, headers={"X-Model": name}) as response:
                found[name] = (await response.text()).strip(",").split(",")
    assert found == {name: sorted(pinned or ("g0", "g1")) for name, pinned in NAMES.items()}


def test_a_rendering_keeps_what_was_learned_of_the_same_fleet(tmp_path: Path) -> None:
    write(haproxy_files(loads(PINS)), tmp_path)
    with (tmp_path / MODELS_MAP).open("a") as file:
        file.write("^learned:7b$ ,g0+,\n")
    write(haproxy_files(loads(PINS)), tmp_path)
    assert "learned" in (tmp_path / MODELS_MAP).read_text()
    write(haproxy_files(loads(PINS.replace("[g1, g0]", "[g0]"))), tmp_path)
    assert "learned" not in (tmp_path / MODELS_MAP).read_text()


@pytest.mark.parametrize(
    ("inspected", "expected"),
    [
        ("64KiB", 16 << 17),
        ("31MiB", 16 * ((31 << 20) + 65_536)),
        ("64MiB", 512 << 20),
        ("128MiB", 4 * ((128 << 20) + 65_536)),
    ],
)
def test_a_thread_keeps_no_more_than_some_buffers(inspected, expected):
    """There are as many threads as cores."""
    fleet = loads(f'instances: [{{name: g0, url: "http://h:1"}}]\npolicies: {{max_inspected_body: {inspected}}}')
    assert f"tune.memory.hot-size {expected}\n" in haproxy_files(fleet)["haproxy.cfg"]


def test_a_file_is_replaced_as_a_whole(tmp_path):
    """HAProxy may be reading it: who has it open keeps what was there."""
    write({"a/haproxy.cfg": "old"}, tmp_path)
    with (tmp_path / "a" / "haproxy.cfg").open() as before:
        write({"a/haproxy.cfg": "new"}, tmp_path)
        assert before.read() == "old"
    assert [(path.name, path.read_text()) for path in (tmp_path / "a").iterdir()] == [("haproxy.cfg", "new")]


@pytest.mark.parametrize(("inspected", "is_said"), [("4MiB", False), ("15MiB", False), ("16MiB", True)])
def test_http_2_is_offered_with_frames_that_may_be(inspected, is_said):
    fleet = loads(f'instances: [{{name: g0, url: "http://h:1"}}]\npolicies: {{max_inspected_body: {inspected}}}')
    assert ("tune.h2.max-frame-size 16777215\n" in haproxy_files(fleet)["haproxy.cfg"]) is is_said
