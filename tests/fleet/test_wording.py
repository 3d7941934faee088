"""One bad value: what the user reads."""

# ruff: noqa: E501 - tables of what is written and what is answered, a case a line

from __future__ import annotations

import pytest

from tests.fleet.lines import INSTANCE, refusals

LISTS = f"instances: [{INSTANCE}]\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gpus: []", '1: instances: is missing; write instances: [{"name": "gpu0", "url": "http://127.0.0.1:11435"}]'),
        ("instances:", '1: instances: is missing; write instances: [{"name": "gpu0", "url": "http://127.0.0.1:11435"}]'),
        ("instances: []", '1: instances: must have at least one entry; for example [{"name": "gpu0", "url": "http://127.0.0.1:11435"}]'),
        ("instances:\n- url: http://h:1", "2: instances[0].name: is missing; write name: gpu0"),
        ("instances:\n- name: a\n  url:", "3: instances[0].url: is missing; write url: http://127.0.0.1:11435"),
        ("instances:\n- name: 0\n  url: http://h:1", '2: instances[0].name: must be text, not 0; write it in quotes: "0"'),
        ("instances:\n- name: a b\n  url: http://h:1", "2: instances[0].name: 'a b' has a character that is not allowed here, U+0020 (SPACE) at place 2; write letters (a-z, A-Z), digits, `_`, `.` and `-`, like gpu0"),
        ("instances:\n- name: Backend\n  url: http://h:1", "2: instances[0].name: 'Backend' is a reserved word; write a name of your own, like gpu0"),
        ("instances:\n- name: a\n  url: ftp://h:1", "3: instances[0].url: must begin with http:// or https://, not 'ftp://h:1'; for example http://127.0.0.1:11435"),
        ("instances:\n- name: a\n  url: http://h:1/v1", "3: instances[0].url: ends with a part of what is asked below it, not 'http://h:1/v1'; write what comes before it, like http://127.0.0.1:11435: clients ask for /v1/... and /api/..."),
        (LISTS + "instanses: 1", "2: instanses: unknown key; did you mean instances?"),
        (LISTS + "policies:\n  poll: {intervall: 1}", "3: policies.poll.intervall: unknown key; did you mean interval?"),
        (LISTS + "policies: {qq: 1}", "2: policies.qq: unknown key; known here: max_inspected_body, max_body, max_header, header_timeout, idle_timeout, max_connections_per_address, retry_after, explain_header, queue_timeout, response_timeout, client_timeout, hold_timeout, allowed_origins, allowed_hosts, log_caller, log_decisions, trusted_proxies, poll, health, limits, watch, decision_log, traces"),
        (LISTS + "policies: {max_age: 5s}", "2: policies.max_age: unknown key; it belongs under poll"),
        (LISTS + "defaults: {OLLAMA_NUM_PARALLEL: 4}", "2: defaults.OLLAMA_NUM_PARALLEL: unknown key; did you mean num_parallel?"),
        (LISTS + "defaults: {keep-alive: 4}", "2: defaults.keep-alive: unknown key; it belongs under ollama"),
        (LISTS + "defaults: {ollama: {vram: 4}}", "2: defaults.ollama.vram: unknown key; it belongs directly under defaults"),
        (LISTS + "listeners: {models: []}", "2: listeners.models: unknown key; it belongs at the left margin"),
        (LISTS + '"a\\nb": 1', "2: 'a\\nb': unknown key; known here: listeners, keys, tls, haproxy, gpus, defaults, instances, models, callers, telemetry, policies"),
        (LISTS + "gpus: {0: 24GiB}", "2: gpus: must be a list, not a mapping"),
        (LISTS + "gpus: [0]", "2: gpus[0]: must be a mapping of keys, not 0"),
        (LISTS + "gpus: [{id: gpu0}]", "2: gpus[0].id: 'gpu0' is not a GPU; write its index (0), its UUID (\"GPU-...\") or its PCI bus id (\"0000:3b:00.0\")"),
        (LISTS + "gpus: [{memory: 1GiB}]", "2: gpus[0].id: is missing; write id: 0"),
        (LISTS + "defaults: {vram: 24 potatoes}", "2: defaults.vram: '24 potatoes' is not a size; write 24GiB, 512MiB or a number of bytes"),
        (LISTS + "defaults: {num_parallel: many}", "2: defaults.num_parallel: must be a whole number, not 'many'"),
        (LISTS + "defaults: {num_parallel: true}", "2: defaults.num_parallel: must be a whole number, not true"),
        (LISTS + "defaults: {num_parallel: 0}", "2: defaults.num_parallel: must be greater than or equal to 1, not 0"),
        (LISTS + "defaults: {shared: perhaps}", "2: defaults.shared: must be true or false, not 'perhaps'"),
        (LISTS + "defaults: {ollama: {kv_cache_type: q5}}", "2: defaults.ollama.kv_cache_type: must be 'f16', 'q8_0' or 'q4_0', not 'q5'"),
        (LISTS + "defaults: {ollama: {models: store}}", "2: defaults.ollama.models: 'store' has characters that are not allowed here; for example /var/lib/ollama/models"),
        (LISTS + "models: [{match: ''}]", "2: models[0].match: must have 1 to 400 characters, not ''; write a name like llama3.1:70b"),
        (LISTS + "models: [{match: a, instances: []}]", "2: models[0].instances: must have at least one entry"),
        (LISTS + "policies: {queue_timeout: 5 minutes}", "2: policies.queue_timeout: '5 minutes' is not a duration; write 30s, 5m or 1h30m; a plain number is seconds"),
        (LISTS + "policies: {queue_timeout: []}", "2: policies.queue_timeout: must be a duration, not a list; write 30s, 5m or 1h30m; a plain number is seconds"),
        (LISTS + "policies: {max_inspected_body: 1KiB}", "2: policies.max_inspected_body: must be greater than or equal to 65536, not '1KiB'; for example 64KiB or 4MiB"),
        (LISTS + "policies: {decision_log: {file: decisions.jsonl}}", "2: policies.decision_log.file: 'decisions.jsonl' has characters that are not allowed here; for example /var/lib/pointsman/decisions.jsonl"),
        (LISTS + "policies: {decision_log: {max_size: 1KiB}}", "2: policies.decision_log.max_size: must be greater than or equal to 65536, not '1KiB'; for example 100MiB"),
        (LISTS + "policies: {max_inspected_body: 1GiB}", "2: policies.max_inspected_body: must be less than or equal to 134217728, not '1GiB'; for example 64KiB or 4MiB"),
        (LISTS + "policies: {allowed_origins: [example.com]}", "2: policies.allowed_origins[0]: 'example.com' has characters that are not allowed here; for example https://*.example.com"),
        (LISTS + "policies: {allowed_hosts: ['h:80']}", "2: policies.allowed_hosts[0]: must be a name without a port, not 'h:80'; write h, which holds for every port"),
        (LISTS + "policies: {trusted_proxies: [nginx]}", "2: policies.trusted_proxies[0]: 'nginx' is not a network; write an address like 10.0.0.5, or a network like 10.0.0.0/8"),
        (LISTS + "policies: 5", "2: policies: must be a mapping of keys, not 5"),
        (LISTS + "listeners: {prefix: ollama/}", "2: listeners.prefix: 'ollama/' is not a path that can stand before Ollama's own; write it like /ollama"),
        (LISTS + "listeners: {front: 127.0.0.1}", "2: listeners.front: '127.0.0.1' is not an address; write HOST:PORT, like 127.0.0.1:11434"),
        (LISTS + "listeners: {spop: [h:1, x]}", "2: listeners.spop[1]: 'x' is not an address; write HOST:PORT, like 127.0.0.1:11434"),
        (LISTS + "listeners: {spop: unix@x}", "2: listeners.spop: 'unix@x' is not the path of a socket; write unix@ and an absolute path of at most 107 plain characters, like unix@/run/pointsman/spop.sock"),
        (LISTS + "models: [{match: !x a}]", "2: models[0].match: has the tag '!x'; remove the tag"),
    ],
)  # fmt: skip
def test_one_bad_value_is_one_line(text: str, expected: str) -> None:
    assert refusals(text) == [f"fleet.yaml:{expected}"]


@pytest.mark.parametrize("section", ["listeners", "gpus", "defaults", "models", "policies"])
def test_a_section_whose_keys_are_all_commented_out_is_as_none(section: str) -> None:
    assert refusals(f"{LISTS}{section}:\n  # nothing yet\n") == []


@pytest.mark.parametrize(
    "text",
    [
        'instances: [{name: a, url: "http://me:SECRET@h:1"}]',
        'instances: [{name: a, url: "https://me:SEC/SECRET@h:1"}]',
        'instances: [{name: a, url: "me:SECRET@h:1"}]',
        'instances: [{name: "http://me:SECRET@h:1", url: "http://h:1"}]',
        'listeners: {front: "me:SECRET@h:1"}',
        'telemetry: {sources: [{url: "ftp://me:SECRET@h:1"}]}',
        'instances: {"http://me:SECRET@h:1": 5}',
        'models: [{match: a, instances: ["http://me:SECRET@h:1"]}]',
    ],
)
def test_passwords_in_urls_are_not_repeated(text: str) -> None:
    assert refusals(text)
    assert "SECRET" not in "".join(refusals(text))
