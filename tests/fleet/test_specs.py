from __future__ import annotations

from spoe_agent.fleet import loads, specs
from spoe_agent.routing.specs import FleetSpec, InstanceSpec, ModelRule, Policy


def test_routing_gets_all_that_the_file_says() -> None:
    fleet = loads("""\
gpus: [{id: 0, memory: 24GiB}]
instances:
  - {name: a, url: "http://h:1", gpus: [0], num_parallel: 2, ollama: {context_length: 8192}}
  - {name: b, url: "http://h:2", max_connections: 9, ollama: {max_loaded_models: 1}}
models:
  - {match: "llama3:70b", instances: [a], num_parallel: 1, vram: 20GiB, size: 18GiB}
  - {match: "hf.co/*"}
policies: {max_inspected_body: 1MiB, retry_after: 1500ms, poll: {max_age: 20s}}
""")
    assert specs(fleet) == FleetSpec(
        instances=(
            InstanceSpec("a", 6, num_parallel=2, max_loaded_models=3, vram_bytes=24 << 30, context_length=8192),
            InstanceSpec("b", 9, num_parallel=1, max_loaded_models=1),
        ),
        rules=(
            ModelRule("llama3:70b", ("a",), num_parallel=1, vram_bytes=20 << 30, size_bytes=18 << 30),
            ModelRule("hf.co/*"),
        ),
        policy=Policy(max_age_s=20.0, retry_after_s=2, max_inspected_bytes=1 << 20),
    )


def test_the_files_defaults_are_routings_defaults() -> None:
    assert specs(loads('instances: [{name: a, url: "http://h:1"}]')).policy == Policy()
