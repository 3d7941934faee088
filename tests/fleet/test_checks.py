"""Rules that join several values: what is refused, and what must not be."""

# ruff: noqa: E501 - tables of what is written and what is answered, a case a line

from __future__ import annotations

import pytest

from tests.fleet.lines import INSTANCE, OTHER, refusals

TWO = f"instances:\n- {INSTANCE}\n- {OTHER}\n"


def instance(number: int, more: str = "") -> str:
    return f'- {{name: i{number}, url: "http://127.0.0.1:{20000 + number}"{", " + more if more else ""}}}\n'


def instances(*more: str) -> str:
    return "instances:\n" + "".join(instance(number, keys) for number, keys in enumerate(more))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'instances:\n- {INSTANCE}\n- {{name: gpu0, url: "http://h:1"}}', "3: instances[1].name: gpu0 is also the name of instances[0]; give each instance its own name"),
        (f'instances:\n- {INSTANCE}\n- {{name: b, url: "http://localhost:11435"}}', "3: instances[1].url: localhost:11435 is taken by gpu0; let this Ollama listen on another port, like 11436"),
        ('instances: [{name: a, url: "http://localhost:11434"}]', "1: instances[0].url: localhost:11434 is taken by listeners.front; let this Ollama listen on another port, like 11435"),
        ('listeners: {front: "0.0.0.0:11435", insecure: true}\n' + TWO, "3: instances[0].url: 127.0.0.1:11435 is taken by listeners.front; let this Ollama listen on another port, like 11437"),
        ('listeners: {spop: "127.0.0.1:11436"}\n' + TWO, "4: instances[1].url: 127.0.0.1:11436 is taken by listeners.spop; let this Ollama listen on another port, like 11437"),
        ('listeners: {front: "h:1", spop: ["h:2", "h:1"], trusted_network: true, insecure: true}\n' + TWO, "1: listeners.spop: h:1 is taken by listeners.front; give each its own port"),
        ('listeners: {again: "127.0.0.1:9604"}\n' + TWO, "1: listeners.again: 127.0.0.1:9604 is taken by listeners.admin; give each its own port"),
        ("listeners: {spop: [unix@/s, unix@/s]}\n" + TWO, "1: listeners.spop: unix@/s is taken by listeners.spop; give each its own port"),
        (TWO + "gpus: [{id: 0}, {id: 1}, {id: 0}]", "4: gpus[2].id: GPU 0 is listed twice; list each GPU once"),
        (instances("gpus: [1]") + "gpus: [{id: 0}]", "2: instances[0].gpus: GPU 1 is not in gpus; use one of 0, or add it to gpus"),
        (instances("gpus: [1, 1]"), "2: instances[0].gpus: GPU 1 is listed twice; list each GPU once"),
        (instances("gpus: [0]", "gpus: [1, 0]"), "3: instances[1].gpus: GPU 0 is used by i0 too; use another GPU, or write shared: true on i0 and i1"),
        (instances("gpus: [0], shared: true", "gpus: [0]"), "3: instances[1].gpus: GPU 0 is used by i0 too; use another GPU, or write shared: true on i1"),
        (instances("gpus: [0]", "gpus: [0], shared: true"), "3: instances[1].gpus: GPU 0 is used by i0 too; use another GPU, or write shared: true on i0"),
        (instances('gpus: ["3b:00.0"]', 'gpus: ["00000000:3B:00.0"]'), "3: instances[1].gpus: GPU 0000:3b:00.0 is used by i0 too; use another GPU, or write shared: true on i0 and i1"),
        (instances("num_parallel: 4, max_connections: 3"), "2: instances[0].max_connections: 3 is below num_parallel 4; write at least 4, or leave it out"),
        (instances("ollama: {kv_cache_type: q8_0, flash_attention: false}"), "2: instances[0].ollama.kv_cache_type: q8_0 needs flash attention, and flash_attention is false; write flash_attention: true, or kv_cache_type: f16"),
        (instances("ollama: {kv_cache_type: q4_0}") + "defaults: {ollama: {flash_attention: false}}", "2: instances[0].ollama.kv_cache_type: q4_0 needs flash attention, and flash_attention is false; write flash_attention: true, or kv_cache_type: f16"),
        (instances("num_parallel: 9") + "defaults: {max_connections: 8}", "2: instances[0].max_connections: 8 is below num_parallel 9; write at least 9, or leave it out"),
        (TWO + "models: [{match: a, instances: [gpu1, gpu2]}]", "4: models[0].instances[1]: there is no instance gpu2; did you mean gpu1?"),
        (TWO + "models: [{match: a, instances: [xyz]}]", "4: models[0].instances[0]: there is no instance xyz; instances are gpu0, gpu1"),
        (TWO + "models: [{match: 'a:b:c/'}]", "4: models[0].match: 'a:b:c/' is not a model name; write a name like llama3.1:70b, or a pattern like hf.co/*"),
        (TWO + "models:\n- match: llama3\n- match: LLAMA3:latest", "6: models[1].match: is never reached: models[0] ('llama3') matches first; merge the two, or put the narrower one first"),
        (TWO + "models:\n- match: llama3*\n- match: x\n- match: llama3:8b", "7: models[2].match: is never reached: models[0] ('llama3*') matches first; merge the two, or put the narrower one first"),
        (TWO + "models:\n- match: hf.co/*\n- match: HF.co/*", "6: models[1].match: is never reached: models[0] ('hf.co/*') matches first; merge the two, or put the narrower one first"),
        (TWO + "models:\n- match: '*'\n- match: a*", "6: models[1].match: is never reached: models[0] ('*') matches first; merge the two, or put the narrower one first"),
        (instances("vram: 24GiB", "vram: 48GiB") + "models: [{match: a, instances: [i0], vram: 43GiB}]", "4: models[0].vram: 43.0GiB fits none of its instances: i0 have at most 24.0GiB; pin it to a larger instance, or correct vram"),
        (instances("vram: 0, gpus: [0]", ""), "2: instances[0].vram: 0 says that it runs on the CPU, and it has gpus; leave gpus out, or write the memory that it may have there"),
        (instances("gpus: [0]", "gpus: [1]") + "gpus: [{id: 0, memory: 1GiB}, {id: 1, memory: 2GiB}]\nmodels: [{match: a, vram: 3GiB}]", "5: models[0].vram: 3.0GiB fits none of its instances: i0, i1 have at most 2.0GiB; pin it to a larger instance, or correct vram"),
        (TWO + "policies: {poll: {interval: 30s}}", "4: policies.poll.interval: interval 30s is above max_age 10s: every reading would be too old; write interval below 10s, or a larger max_age"),
        (TWO + "policies: {poll: {max_age: 1500ms}}", "4: policies.poll.timeout: timeout 2s is above max_age 1.5s: every reading would be too old; write timeout below 1.5s, or a larger max_age"),
        (TWO + "telemetry: {memory: {max_age: 1s}, interval: 500ms}", "4: telemetry.timeout: timeout 2s is above memory.max_age 1s: every reading would be too old; write timeout below 1s, or a larger memory.max_age"),
        (TWO + "telemetry: {interval: 30s, throttle: {max_age: 60s}}", "4: telemetry.interval: interval 30s is above memory.max_age 10s: every reading would be too old; write interval below 10s, or a larger memory.max_age"),
        (TWO + 'telemetry: {sources: [{url: "http://h:1", instances: [gpu0, gpu7]}]}', "4: telemetry.sources[0].instances[1]: there is no instance gpu7; instances are gpu0, gpu1"),
        ('listeners: {admin: "127.0.0.1:9602"}\n' + TWO, "1: listeners.admin: 127.0.0.1:9602 is taken by listeners.check; give each its own port"),
        ("listeners: {front: 0.0.0.0:11434}\n" + TWO, "1: listeners.front: 0.0.0.0:11434 can be reached from other hosts, and whoever reaches it may use, pull and delete every model; write keys: {file: /etc/pointsman/keys/keys.json} and make some (pointsman key add NAME), or 127.0.0.1:11434; or insecure: true beside it if you trust all who reach it"),
        ('tls: {certificate: /c, redirect_from: "127.0.0.1:9604"}\n' + TWO, "1: tls.redirect_from: 127.0.0.1:9604 is taken by listeners.admin; give each its own port"),
        ('listeners: {admin: "0.0.0.0:9604"}\n' + TWO, "1: listeners.admin: 0.0.0.0:9604 can be reached from other hosts, and whoever reaches it can drain instances, without a password; write 127.0.0.1:9604, or trusted_network: true beside it if you trust all who reach it"),
        ('listeners: {log: "[::]:9603"}\n' + TWO, "1: listeners.log: [::]:9603 can be reached from other hosts, and whoever reaches it can say that requests ended, without a password; write 127.0.0.1:9603, or trusted_network: true beside it if you trust all who reach it"),
        ('listeners: {check: "agent:9602"}\n' + TWO, "1: listeners.check: agent:9602 can be reached from other hosts, and whoever reaches it sees every instance's limit, without a password; write 127.0.0.1:9602, or trusted_network: true beside it if you trust all who reach it"),
        ('listeners:\n  spop: [unix@/s, "10.0.0.1:9601"]\n' + TWO, "2: listeners.spop: 10.0.0.1:9601 can be reached from other hosts, and whoever reaches it asks for slots in anybody's name, without a password; write 127.0.0.1:9601, or trusted_network: true beside it if you trust all who reach it"),
        ('instances: [{name: a, url: "https://10.0.0.1:443"}]', "1: instances[0].url: 10.0.0.1 is an address, which HAProxy cannot find in a certificate that anybody may have signed; write the host's name, or ca_file: the certificates that only your own servers are signed by"),
        ('instances:\n- {name: a, url: "https://h:443/a"}\n- {name: b, url: "https://h:443/a/"}', "3: instances[1].url: h:443 is taken by a; let this Ollama listen on another port, like 11435"),
        ('listeners: {onward: "127.0.0.1:9603"}\ninstances: [{name: a, url: "https://h:1"}, {name: b, url: "http://h:2/x"}]', "1: listeners.onward: 127.0.0.1:9604 is taken by listeners.admin; give each its own port") ,
        (TWO + "keys: {file: /k}\nhaproxy: {runtime: /run/h.sock}", "5: haproxy.runtime: keys are changed in HAProxy's memory alone, so its next start or reload takes who was revoked again; write haproxy.files beside it: the folder of HAProxy's files, like /etc/pointsman/haproxy"),
        (TWO + "callers: [{weight: 2}]", "4: callers[0].caller: is missing; write caller: 10.0.0.5"),
    ],
)  # fmt: skip
def test_refused(text: str, expected: str) -> None:
    assert refusals(text) == [f"fleet.yaml:{expected}"]


@pytest.mark.parametrize(
    "text",
    [
        TWO,
        'instances: [{name: a, url: "http://10.0.0.1:11435"}, {name: b, url: "http://10.0.0.2:11435"}]',
        'listeners: {front: "0.0.0.0:11434", insecure: true}\ninstances: [{name: a, url: "http://10.0.0.1:11434"}]',
        'listeners: {front: "0.0.0.0:11434"}\nkeys: {file: /k}\ninstances: [{name: a, url: "http://10.0.0.1:11434"}]',
        'listeners: {front: "0.0.0.0:11434", insecure: true}\ninstances: [{name: a, url: "http://box:11434"}]',  # another machine, perhaps
        TWO + "keys: {file: /k}\nhaproxy: {runtime: /run/h.sock, files: /h}",
        TWO + "haproxy: {runtime: /run/h.sock}",
        'listeners: {log: "127.0.0.1:11435"}\n' + TWO,  # UDP
        'listeners: {onward: "127.0.0.1:9604"}\n' + TWO,  # nothing is passed on
        'instances:\n- {name: a, url: "https://h:443/a"}\n- {name: b, url: "https://h:443/b"}\n- {name: c, url: "http://h:443"}',
        'instances: [{name: a, url: "https://10.0.0.1:443", ca_file: /ca.pem}, {name: b, url: "https://[::1]:443"}]\ndefaults: {ca_file: /ca.pem}',
        'listeners: {spop: unix@/s, log: "localhost:1", check: "127.1.2.3:2", admin: "[::1]:3"}\n' + TWO,
        'listeners: {spop: "agent:1", log: "agent:1", check: "0.0.0.0:2", admin: "10.0.0.1:3", trusted_network: true}\n'
        + TWO,
        instances("gpus: [0], shared: true", "gpus: [0], shared: true"),
        instances("gpus: [0]", "gpus: [0]") + "defaults: {shared: true}",
        instances("gpus: [5]"),  # no list of GPUs to hold it against
        instances("num_parallel: 4, max_connections: 4"),
        TWO + "models:\n- match: llama3\n- match: llama3*\n- match: '*'",  # from narrow to wide
        TWO + "models:\n- match: llama3:8b\n- match: llama3",
        instances("vram: 24GiB", "") + "models: [{match: a, vram: 43GiB}]",  # i1's memory is not known
        instances("vram: 24GiB", "vram: 0") + "models: [{match: a, vram: 43GiB}]",  # i1 has it on the CPU
        instances("vram: 24GiB", "vram: 48GiB") + "models: [{match: a, vram: 43GiB}]",
        instances("vram: 24GiB", "vram: 48GiB") + "models: [{match: a, vram: 24GiB, instances: [i0]}]",
        TWO + "policies: {poll: {interval: 10s, timeout: 10s}}",
    ],
)
def test_allowed(text: str) -> None:
    assert refusals(text) == []
