from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from spoe_agent.fleet import json_schema

SCHEMA = json_schema()
OBJECTS = {"": SCHEMA, **SCHEMA["$defs"]}
KEYS = [(name, key) for name, node in OBJECTS.items() for key in node["properties"]]


def test_it_says_what_it_is() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["title"] == "Pointsman fleet file"
    assert SCHEMA["required"] == ["instances"]
    known = ["listeners", "keys", "tls", "haproxy", "gpus", "defaults", "instances", "models", "callers", "telemetry"]
    assert list(SCHEMA["properties"]) == [*known, "policies"]


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_key_is_explained(section: str, key: str) -> None:
    assert len(OBJECTS[section]["properties"][key]["description"]) > 10


def test_every_section_is_closed_and_explained() -> None:
    for node in OBJECTS.values():
        assert node["type"] == "object"
        assert node["additionalProperties"] is False
        assert node["description"]


def test_required_keys() -> None:
    required = {name: node["required"] for name, node in OBJECTS.items() if "required" in node}
    assert required == {
        "": ["instances"],
        "InstanceEntry": ["name", "url"],
        "GpuEntry": ["id"],
        "ModelEntry": ["match"],
        "Shape": ["cache_per_token"],
        "CallerEntry": ["caller"],
        "GpuSource": ["url"],
        "KeySettings": ["file"],
        "TlsSettings": ["certificate"],
    }


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(inner)


def test_references_lead_somewhere_and_patterns_compile() -> None:
    for node in nodes(SCHEMA):
        if isinstance(reference := node.get("$ref"), str):
            assert reference.removeprefix("#/$defs/") in SCHEMA["$defs"]
        if isinstance(pattern := node.get("pattern"), str):
            re.compile(pattern)


@pytest.mark.parametrize(
    ("section", "key", "types"),
    [
        ("InstanceEntry", "vram", {"string", "integer", "null"}),
        ("PollPolicy", "interval", {"string", "number"}),
        ("Policies", "hold_timeout", {"string", "number"}),
        ("OllamaSettings", "keep_alive", {"string", "number", "null"}),
        ("Listeners", "spop", {"string", "array"}),
        ("GpuEntry", "id", {"string", "integer"}),
    ],
)
def test_values_with_units_may_be_text_or_number(section: str, key: str, types: set[str]) -> None:
    node = OBJECTS[section]["properties"][key]

    def leaves(node: dict[str, Any]) -> set[str]:
        return {node["type"]} if "type" in node else set().union(*map(leaves, node["anyOf"]))

    assert leaves(node) == types
    assert node.get("examples") or any(choice.get("examples") for choice in node["anyOf"])


def test_defaults_read_as_people_write_them() -> None:
    assert OBJECTS["PollPolicy"]["properties"]["interval"]["default"] == "1s"
    assert OBJECTS["Policies"]["properties"]["max_inspected_body"]["default"] == "31MiB"
    assert OBJECTS["Policies"]["properties"]["hold_timeout"]["default"] == "60s"
    assert OBJECTS["Listeners"]["properties"]["front"]["default"] == "127.0.0.1:11434"
