from __future__ import annotations

import pytest

from spoe_agent.fleet import FleetError, loads, specs
from spoe_agent.routing.specs import FleetSpec, InstanceSpec, ModelRule, Policy

SAYS = frozenset({"max_connections", "max_loaded_models"})


def test_routing_gets_all_that_the_file_says() -> None:
    fleet = loads("""\
gpus: [{id: 0, memory: 24GiB}]
instances:
  - {name: a, url: "http://h:1", gpus: [0], num_parallel: 2, ollama: {context_length: 8192, kv_cache_type: q8_0}}
  - {name: b, url: "http://h:2", store: nas, max_connections: 9, ollama: {max_loaded_models: 1}}
models:
  - {match: "llama3:70b", instances: [a], num_parallel: 1, vram: 20GiB, size: 18GiB, max_concurrent: 3, priority: -7}
  - {match: "hf.co/*"}
callers: [{caller: 10.0.0.5, weight: 2.5}, {caller: "123456"}]
policies: {max_inspected_body: 1MiB, retry_after: 1500ms, hold_timeout: 90s, poll: {max_age: 20s}}
""")
    assert specs(fleet) == FleetSpec(
        instances=(
            InstanceSpec(
                "a",
                6,
                2,
                max_loaded_models=3,
                vram_bytes=24 << 30,
                context_length=8192,
                cache_element_bytes=1.0625,
                store="h",
                says=frozenset({"num_parallel"}),
                tag=fleet.instances[0].tag,
            ),
            InstanceSpec("b", 9, 1, 1, store="nas", says=SAYS, tag=fleet.instances[1].tag),
        ),
        rules=(
            ModelRule(
                "llama3:70b",
                ("a",),
                num_parallel=1,
                vram_bytes=20 << 30,
                size_bytes=18 << 30,
                max_concurrent=3,
                priority=-7,
            ),
            ModelRule("hf.co/*"),
        ),
        policy=Policy(
            max_age_s=20.0,
            retry_after_s=2,
            max_inspected_bytes=1 << 20,
            hold_s=90.0,
            caller_weights={"10.0.0.5": 2.5, "123456": 1.0},
        ),
    )


@pytest.mark.parametrize(
    ("model", "policies", "expected"),
    [
        ("", "", ModelRule("m")),
        ("latency: interactive", "", ModelRule("m", hold_s=20.0, stays=True)),
        ("latency: interactive", "hold_timeout: 15s", ModelRule("m", hold_s=15.0, stays=True)),
        ("latency: batch", "", ModelRule("m", priority=100, hold_s=600.0, stays=False)),
        ("latency: batch, priority: 3", "queue_timeout: 1h", ModelRule("m", priority=3, hold_s=3600.0, stays=False)),
        ("latency: batch", "queue_timeout: 10s", ModelRule("m", priority=100, hold_s=60.0, stays=False)),
        ("latency: batch", "hold_timeout: 0", ModelRule("m", priority=100, stays=False)),
        ("latency: interactive, priority: -5", "hold_timeout: 0", ModelRule("m", priority=-5, stays=True)),
    ],
)
def test_what_latency_says(model: str, policies: str, expected: ModelRule) -> None:
    rule = f"{{match: m{', ' * bool(model)}{model}}}"
    fleet = loads(f'instances: [{{name: a, url: "http://h:1"}}]\nmodels: [{rule}]\npolicies: {{{policies}}}')
    assert specs(fleet).rules == (expected,)


def test_the_files_defaults_are_routings_defaults_but_for_holding() -> None:
    """Routing holds nothing by itself: benchmarks and front ends without a held queue say so by leaving it out."""
    assert specs(loads('instances: [{name: a, url: "http://h:1"}]')).policy == Policy(hold_s=60.0)


def test_holding_can_be_switched_off() -> None:
    assert specs(loads('instances: [{name: a, url: "http://h:1"}]\npolicies: {hold_timeout: 0}')).policy.hold_s == 0


@pytest.mark.parametrize("weight", ["0", "-1", "1001", ".inf", ".nan", "x"])
def test_a_callers_weight_is_above_zero_and_finite(weight: str) -> None:
    with pytest.raises(FleetError, match=r"callers\[0\].weight"):
        loads(f'instances: [{{name: a, url: "http://h:1"}}]\ncallers: [{{caller: x, weight: {weight}}}]')


@pytest.mark.parametrize("keys", ["priority: 101", "priority: -101", "priority: 1.5", "max_concurrent: 0"])
def test_bounds_of_what_is_said_of_a_model(keys: str) -> None:
    with pytest.raises(FleetError, match=r"models\[0\]"):
        loads(f'instances: [{{name: a, url: "http://h:1"}}]\nmodels: [{{match: a, {keys}}}]')


@pytest.mark.parametrize(("kind", "element_bytes"), [("f16", 2.0), ("q8_0", 1.0625), ("q4_0", 0.5625)])
def test_bytes_of_a_number_in_the_cache(kind: str, element_bytes: float) -> None:
    fleet = loads(f'instances: [{{name: a, url: "http://h:1", ollama: {{kv_cache_type: {kind}}}}}]')
    assert specs(fleet).instances[0].cache_element_bytes == element_bytes
