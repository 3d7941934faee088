from __future__ import annotations

import pytest
from pydantic import ValidationError

from spoe_agent.fleet import Instance, Listen, loads


def only(keys: str, rest: str = "") -> Instance:
    (instance,) = loads(f'instances: [{{name: a, url: "http://[::1]:11435/", {keys}}}]\n{rest}').instances
    return instance


def test_the_url_comes_apart() -> None:
    instance = only("")
    assert (instance.url, instance.host, instance.port) == ("http://[::1]:11435", "::1", 11435)


def test_what_is_behind_a_proxy_has_a_port_of_haproxys_own() -> None:
    fleet = loads("""
listeners: {onward: "127.0.0.1:9700"}
instances:
- {name: a, url: "https://h:443/x/", ca_file: /ca.pem}
- {name: b, url: "http://h:2"}
- {name: c, url: "http://h:80/y"}
""")
    assert [(one.url, one.has_tls, one.prefix, one.host_header, one.ca_file) for one in fleet.instances] == [
        ("https://h:443/x", True, "/x", "h", "/ca.pem"),
        ("http://h:2", False, "", "localhost", None),
        ("http://h:80/y", False, "/y", "h", None),
    ]
    assert [one.onward for one in fleet.instances] == [Listen("127.0.0.1", 9700), None, Listen("127.0.0.1", 9701)]


@pytest.mark.parametrize(
    ("keys", "loaded", "connections"),
    [
        ("", 3, 3),
        ("gpus: [0]", 3, 3),
        ("gpus: [0, 1], num_parallel: 2", 6, 12),
        ("gpus: [0, 1], num_parallel: 2, ollama: {max_loaded_models: 1}", 1, 2),
        ("gpus: [0], max_connections: 7", 3, 7),
    ],
)
def test_what_ollama_works_out_itself(keys: str, loaded: int, connections: int) -> None:
    instance = only(keys)
    assert (instance.max_loaded_models, instance.max_connections) == (loaded, connections)


@pytest.mark.parametrize(
    ("keys", "vram"),
    [
        ("", None),
        ("gpus: [0]", 10 << 30),
        ("gpus: [0, 1]", 30 << 30),
        ("gpus: [0, 2]", None),
        ("gpus: [0, 1], vram: 5GiB", 5 << 30),
        ("vram: 5GiB", 5 << 30),
        ("vram: 0", 0),
        ('vram: "0"', 0),
    ],
)
def test_vram_is_given_or_the_sum_of_known_gpus(keys: str, vram: int | None) -> None:
    assert only(keys, "gpus: [{id: 0, memory: 10GiB}, {id: 1, memory: 20GiB}, {id: 2}]").vram_bytes == vram


def test_defaults_of_the_rest() -> None:
    fleet = loads('instances: [{name: a, url: "http://h:1"}]')
    assert fleet.listeners.front == Listen("127.0.0.1", 11434)
    assert fleet.listeners.spop == (Listen("127.0.0.1", 9601),)
    assert fleet.listeners.log == Listen("127.0.0.1", 9603)
    policies = fleet.policies
    assert (policies.max_inspected_body, policies.retry_after, policies.explain_header) == (31 << 20, 5, True)
    assert (policies.queue_timeout, policies.response_timeout, policies.hold_timeout) == (600, 1800, 60)
    assert (policies.poll.interval, policies.poll.timeout, policies.poll.max_age, policies.poll.tags_interval) == (
        1,
        2,
        10,
        10,
    )
    assert "https://localhost:*" in policies.allowed_origins
    assert "vscode-file://*" in policies.allowed_origins
    assert len(policies.allowed_origins) == 17


def test_a_fleet_does_not_change() -> None:
    fleet = loads('instances: [{name: a, url: "http://h:1"}]')
    with pytest.raises(ValidationError, match="frozen"):
        fleet.instances[0].name = "b"
    with pytest.raises(ValidationError, match="frozen"):
        fleet.policies.poll.interval = 5.0


@pytest.mark.parametrize(
    ("keys", "stores"),
    [
        ('url: "http://127.0.0.1:1"', "127.0.0.1"),
        ('url: "http://localhost:1"', "127.0.0.1"),
        ('url: "http://[::1]:1"', "127.0.0.1"),
        ('url: "http://Far:1"', "far"),
        ('url: "http://far:1", ollama: {models: /m}', "far:/m"),
        ('url: "http://far:1", store: nas', "nas"),
    ],
)
def test_which_store_an_instance_has(keys: str, stores: str) -> None:
    assert loads(f"instances: [{{name: a, {keys}}}]").instances[0].store == stores


@pytest.mark.parametrize(
    ("host", "here"), [("127.0.0.1", True), ("127.1.2.3", True), ("[::1]", True), ("localhost", True), ("h", False)]
)
def test_what_is_on_this_host(host, here):
    assert loads(f'instances: [{{name: a, url: "http://{host}:1"}}]').instances[0].is_here is here


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("", set()),
        ("num_parallel: 1, ollama: {max_loaded_models: 0}", {"num_parallel"}),
        ("max_connections: 3, ollama: {max_loaded_models: 2}", {"max_connections", "max_loaded_models"}),
    ],
)
def test_what_the_file_itself_says(keys, says):
    assert loads(f'instances: [{{name: a, url: "http://h:1", {keys}}}]').instances[0].says == says


def test_what_the_defaults_say_is_said():
    of = loads('{defaults: {num_parallel: 4}, instances: [{name: a, url: "http://h:1"}]}')
    assert of.instances[0].says == {"num_parallel"}
