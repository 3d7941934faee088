"""Whatever the text, the outcome is a fleet or a FleetError whose problems are each one line."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from spoe_agent.fleet import Fleet, FleetError, json_schema, loads, specs
from spoe_agent.routing.specs import FleetSpec

_SCHEMA = json_schema()
_KEYS = sorted({key for node in (_SCHEMA, *_SCHEMA["$defs"].values()) for key in node["properties"]})
_TELLING = [
    "gpu0",
    "24GiB",
    "5m",
    "127.0.0.1:11434",
    "unix@/s",
    "http://127.0.0.1:11435",
    "llama3",
    "*",
    "f16",
    "<<",
    "0000:3b:00.0",
]

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(_TELLING),
    st.text(max_size=20),
    st.binary(max_size=5),
    st.dates(),
)
_keys = st.sampled_from(_KEYS) | st.text(max_size=8)
_trees = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=6),
    max_leaves=30,
)
_top = st.fixed_dictionaries(
    {
        "instances": st.lists(
            st.fixed_dictionaries(
                {}, optional={key: _trees for key in _SCHEMA["$defs"]["InstanceEntry"]["properties"]}
            ),
            max_size=3,
        )
        | _trees
    },
    optional={key: _trees for key in _SCHEMA["properties"] if key != "instances"},
)


def holds(text: str) -> None:
    try:
        fleet: Any = loads(text)
    except FleetError as error:
        assert error.problems
        assert len(str(error).splitlines()) == len(error.problems)
    else:
        assert isinstance(fleet, Fleet)
        assert isinstance(specs(fleet), FleetSpec)


@given(st.text())
def test_any_text(text: str) -> None:
    holds(text)


@given(st.text(alphabet="ab:-[]{}#&*!|>'\"%@`?, \n\t\\Ux0", max_size=80))
def test_any_punctuation(text: str) -> None:
    holds(text)


@given(_top | _trees)
def test_any_tree(tree: object) -> None:
    holds(yaml.safe_dump(tree, allow_unicode=True))


_instances = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["a", "b", "c"]),
            "url": st.sampled_from([f"http://127.0.0.1:{port}" for port in range(11434, 11438)]),
        },
        optional={
            "gpus": st.lists(st.integers(0, 2), max_size=2),
            "shared": st.booleans(),
            "num_parallel": st.integers(1, 4),
            "max_connections": st.integers(1, 8),
            "vram": st.sampled_from(["1GiB", "9GiB"]),
        },
    ),
    min_size=1,
    max_size=3,
)


@given(_instances)
def test_what_is_accepted_holds_together(instances: list[dict[str, Any]]) -> None:
    try:
        fleet = loads(yaml.safe_dump({"instances": instances}))
    except FleetError:
        return
    assert len({instance.name for instance in fleet.instances}) == len(instances)
    assert len({instance.port for instance in fleet.instances} | {fleet.listeners.front.port}) == len(instances) + 1
    users = [(gpu, instance.get("shared", False)) for instance in instances for gpu in instance.get("gpus", [])]
    assert all(shared or [gpu for gpu, _ in users].count(gpu) == 1 for gpu, shared in users)
    assert all(instance.max_connections >= instance.num_parallel for instance in fleet.instances)
