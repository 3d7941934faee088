"""A plan in the fleet file: what is written, and what stays."""

import pytest

from spoe_agent.fleet import loads
from spoe_agent.plan.carried import Contradiction
from spoe_agent.plan.entries import entries, rules
from spoe_agent.plan.proposal import propose
from spoe_agent.plan.write import written
from tests.plan.described import EMBED, LLAMA_8B, LLAMA_70B, LLAMA_405B, QWEN_32B, asked, gpus

TEXT = """\
# my fleet
listeners:
  front: 127.0.0.1:11434  # here
  admin: 127.0.0.1:11436
instances:
  # the first
  - name: a
    url: http://127.0.0.1:11435
    gpus: [GPU-48-0000]
    vram: 40GiB
    ollama: {keep_alive: 1h, models: /srv}   # long
  - {name: b, url: "http://127.0.0.1:11500"}
models:
  - match: "llama*"
    priority: 3
  - match: qwen3:32b
    max_concurrent: 2
policies:
  hold_timeout: 30s  # not long
"""


def planned(machine, wishes, text=TEXT, kv_cache_type=None):
    fleet = loads(text)
    plan = propose(machine, wishes)
    made = entries(plan, machine, fleet, 4096)
    out = written(text, machine, made, rules(plan, wishes, made), kv_cache_type)
    return out, loads(out)


def test_the_file_holds_together_and_says_the_plan():
    _, fleet = planned(gpus(3, 48), [LLAMA_70B, QWEN_32B, asked(LLAMA_8B, demand=5.0), EMBED])
    assert [gpu.id for gpu in fleet.gpus] == ["GPU-48-0000", "GPU-48-0001", "GPU-48-0002"]
    assert [one.gpus for one in fleet.instances] == [("GPU-48-0000",), ("GPU-48-0001",), ("GPU-48-0002",)]
    assert all(one.vram_bytes == 48 << 30 for one in fleet.instances)
    pins = {rule.match: rule.instances for rule in fleet.models}
    assert len(pins["llama3.1:8b"]) == 2
    assert len(pins["llama3.3:70b"]) == 1
    by_name = {one.name: one for one in fleet.instances}
    for one in by_name.values():
        models = [match for match, names in pins.items() if names and one.name in names]
        assert one.max_loaded_models == max(1, len(models))
        assert one.max_connections == max(
            one.num_parallel, sum(1 if "embed" in match else one.num_parallel for match in models)
        )


def test_what_the_plan_does_not_speak_of_stays():
    text, fleet = planned(gpus(2, 48), [LLAMA_70B, QWEN_32B])
    for words in ("# my fleet", "# here", "# the first", "hold_timeout: 30s  # not long"):
        assert words in text
    first = fleet.instances[0]
    assert (first.name, first.port, first.ollama.keep_alive, first.ollama.models) == ("a", 11435, 3600, "/srv")
    assert first.vram_bytes == 48 << 30
    rule = {one.match: one for one in fleet.models}
    assert rule["qwen3:32b"].max_concurrent == 2
    assert (rule["llama3.3:70b"].priority, rule["llama*"].priority) == (3, 3)


@pytest.mark.parametrize(("said", "expected"), [("batch", "batch"), ("", "interactive")])
def test_who_waits_is_written_where_it_is_said(said, expected):
    before = TEXT.replace("max_concurrent: 2", "latency: interactive")
    _, fleet = planned(gpus(2, 48), [asked(QWEN_32B, latency=said)], before)
    assert {one.match: one.latency for one in fleet.models} == {"llama*": None, "qwen3:32b": expected}


def test_new_instances_have_ports_that_nobody_in_the_file_has():
    _, fleet = planned(gpus(3, 48), [QWEN_32B])
    assert [one.port for one in fleet.instances] == [11435, 11437, 11438]
    assert [one.name for one in fleet.instances] == ["a", "gpu1", "gpu2"]


UNBOUND = """\
instances:
  - name: a
    url: http://127.0.0.1:11435
    store: ours
    ollama: {models: /srv, keep_alive: 1h, context_length: 2048, origins: ["app://a"]}   # long
    env: {HTTPS_PROXY: "http://127.0.0.1:3128"}
"""


@pytest.mark.parametrize("bound", ["", "    gpus: [GPU-48-0009]\n"])
def test_what_those_say_that_go_is_taken_over_by_all_that_come(bound):
    _, fleet = planned(gpus(2, 48), [QWEN_32B], UNBOUND + bound)
    assert [one.name for one in fleet.instances] == ["gpu0", "gpu1"]
    for one in fleet.instances:
        assert (one.store, one.ollama.models, one.ollama.keep_alive) == ("ours", "/srv", 3600)
        assert one.ollama.origins == ("app://a",)
        assert dict(one.env) == {"HTTPS_PROXY": "http://127.0.0.1:3128"}
        assert one.ollama.context_length != 2048


@pytest.mark.parametrize(
    ("second", "of"),
    [
        ("ollama: {models: /other, keep_alive: 1h, origins: ['app://a']}", "ollama.models, env.HTTPS_PROXY"),
        ("", "store, ollama.models, ollama.keep_alive, ollama.origins, env.HTTPS_PROXY"),
    ],
)
def test_where_those_that_go_differ_nothing_is_guessed(second, of):
    store = "store: ours, " if second else ""
    text = UNBOUND + "  - {name: b, url: 'http://127.0.0.1:11500', " + store + second + "}\n"
    with pytest.raises(Contradiction) as told:
        planned(gpus(2, 48), [QWEN_32B], text)
    assert f"a, b are to go, and say different things of {of}: " in str(told.value)
    assert "3128" not in str(told.value)


def test_again_it_changes_nothing():
    wishes = [LLAMA_70B, QWEN_32B, LLAMA_8B]
    text, _ = planned(gpus(2, 48), wishes)
    again, _ = planned(gpus(2, 48), wishes, text)
    assert again == text


def test_a_cache_type_and_a_default_vram():
    text = TEXT.replace("models:\n", "defaults: {vram: 10GiB}\nmodels:\n", 1)
    _, fleet = planned(gpus(2, 48), [QWEN_32B], text, "q8_0")
    assert all(one.ollama.kv_cache_type == "q8_0" and one.vram_bytes == 48 << 30 for one in fleet.instances)


def test_a_model_without_a_home_is_pinned_to_where_it_can_be_loaded_in_turn():
    text = TEXT.replace('11500"}', '11500", ollama: {keep_alive: 1h, models: /srv}}')
    _, fleet = planned(gpus(2, 24), [LLAMA_70B, LLAMA_8B, LLAMA_405B], text)
    (one,) = fleet.instances
    assert one.gpus == ("GPU-24-0000", "GPU-24-0001")
    matches = [rule.match for rule in fleet.models]
    assert "llama3.1:8b" in matches
    assert "llama3.1:405b" not in matches


def test_routing_has_the_shape():
    from spoe_agent.fleet import specs

    _, fleet = planned(gpus(2, 48), [QWEN_32B])
    assert specs(fleet).rule(QWEN_32B.model).shape == QWEN_32B.shape
