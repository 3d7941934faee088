"""The fleet file while it is edited, and what differs then."""

import os

import pytest

from spoe_agent.fleet import loads
from spoe_agent.fleet.differences import differences, needing_restart, with_listeners_of
from spoe_agent.fleet.file import EditedFile
from spoe_agent.fleet.schema_haproxy import HAProxySettings

ONE = 'instances: [{name: gpu0, url: "http://h:1"}]\n'
TWO = 'instances: [{name: gpu0, url: "http://h:1"}, {name: gpu1, url: "http://h:2"}]\n'


def test_content_counts_not_times(tmp_path):
    file = EditedFile(tmp_path / "fleet.yaml")
    file.path.write_text(ONE)
    os.utime(file.path, (1, 1))
    first = file.read()
    assert [one.name for one in first.fleet.instances] == ["gpu0"]
    os.utime(file.path, (2, 2))
    assert file.read() is first
    file.path.write_text(TWO)
    os.utime(file.path, (2, 2))
    assert len(file.read().fleet.instances) == 2


def test_another_haproxy_than_the_files(tmp_path):
    file = EditedFile(tmp_path / "fleet.yaml", HAProxySettings(runtime=("/mine.sock",)))
    for content in (ONE, f"haproxy: {{files: /a, runtime: /b, spop: unix@/c}}\n{TWO}"):
        file.path.write_text(content)
        haproxy = file.read().fleet.haproxy
        assert (haproxy.files, haproxy.runtime, haproxy.spop) == (None, ("/mine.sock",), None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"instances: 7\n", ":1: instances: "),
        (b"\xff", "is not UTF-8 text"),
        (None, "cannot be read: No such file"),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path, content, said):
    file = EditedFile(tmp_path / "fleet.yaml")
    if content is not None:
        file.path.write_bytes(content)
    found = file.read()
    assert found.fleet is None
    assert said in str(found.problems[0])
    assert file.read() is found
    file.path.write_text(ONE)
    assert file.read().fleet is not None


DIFFERENCES = {
    "a remark": (ONE, "# new\n" + ONE, []),
    "added": (ONE, TWO, ["instance gpu1 added"]),
    "removed": (TWO, ONE, ["instance gpu1 removed"]),
    "moved": (ONE, ONE.replace("h:1", "h:3"), ["instance gpu0 changed: url"]),
    "a setting of all": (
        ONE,
        ONE + "defaults: {num_parallel: 2, ollama: {context_length: 9}}\n",
        ["instance gpu0 changed: num_parallel, max_connections, ollama.context_length"],
    ),
    "deep keys": (
        ONE,
        ONE + "policies: {hold_timeout: 1s, poll: {interval: 2s}}\n",
        ["policies.hold_timeout", "policies.poll.interval"],
    ),
    "rules": (ONE, ONE + "models: [{match: m}]\n", ["models"]),
    "callers": (ONE, ONE + "callers: [{caller: x, weight: 2}]\n", ["callers"]),
    "listeners": (ONE, ONE + 'listeners: {admin: "127.0.0.1:1"}\n', ["listeners.admin"]),
    "the context of all, by another's memory": (
        TWO.replace('h:1"', 'h:1", vram: 80GiB').replace('h:2"', 'h:2", vram: 80GiB'),
        TWO.replace('h:1"', 'h:1", vram: 80GiB').replace('h:2"', 'h:2", vram: 8GiB'),
        {"instance gpu0 changed: context_length", "instance gpu1 changed: vram_bytes"},
    ),
    "order": (
        TWO,
        'instances: [{name: gpu1, url: "http://h:2"}, {name: gpu0, url: "http://h:1"}]\n',
        ["order of instances"],
    ),
}


@pytest.mark.parametrize(("old", "new", "said"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_what_differs_is_named(old, new, said):
    found = differences(loads(old), loads(new))
    assert type(said)(found) == said


def test_listeners_of_the_agent_need_a_restart_and_stay_until_then():
    keys = ("spop", "check", "log", "admin", "door", "front")
    listeners = ", ".join(f'{key}: "127.0.0.1:{port}"' for port, key in enumerate(keys, 1))
    old, new = loads(ONE), loads(f"{TWO}listeners: {{{listeners}}}\n")
    assert needing_restart(old, new) == (
        "listeners.spop",
        "listeners.log",
        "listeners.check",
        "listeners.admin",
        "listeners.door",
    )
    kept = with_listeners_of(old, new)
    assert needing_restart(old, kept) == ()
    assert (kept.listeners.front.port, len(kept.instances)) == (6, 2)
