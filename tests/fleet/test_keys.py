"""No key of the fleet file does nothing: each is read by what serves, or by a check that is all its meaning.

A key counts as read where a module that knows the fleet, or a template of HAProxy's, has it as an attribute of its
section, by that section's own name or one that sections are passed under. Where `resolved` gives a key another name,
that name must be read further on.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, Field

import spoe_agent
from spoe_agent.fleet.resolved import Fleet, Instance
from spoe_agent.fleet.schema import FleetFile, InstanceEntry
from spoe_agent.fleet.schema_ollama import OllamaSettings

ROOT = Path(spoe_agent.__file__).parent
TRYING_OUT = {"rig", "demo", "simulator", "replay"}
CHECKING = {"surroundings"}
SCHEMA_AND_CHECKS = {
    "schema",
    "schema_front",
    "schema_haproxy",
    "schema_models",
    "schema_ollama",
    "schema_records",
    "schema_watch",
    "checks",
    "gpu_checks",
    "exposure",
    "differences",
}
PASSED_AS = {"entry", "gpu", "instance", "one", "policy", "_policy", "settings"}
FOR_CHECKS = {
    "trusted_network": "says that a check may let addresses through",
    "insecure": "says that a check may let the front be reached without keys",
    "shared": "says that a check may let GPUs through",
    "defaults": "is merged into the instances before anybody reads them",
}
"""Keys that only checks go by, and why that is all there is to do."""


@cache
def attributes(*leave_out: str) -> frozenset[tuple[str, str]]:
    """Every attribute, and what it is one of, of modules that import the fleet, but for some, and of templates."""
    found: set[tuple[str, str]] = set()
    for path in ROOT.rglob("*.py"):
        place = path.relative_to(ROOT)
        room, tree = place.parts[0], ast.parse(path.read_text())
        is_left_out = room in TRYING_OUT | CHECKING or str(place) in leave_out
        serves = path.stem not in SCHEMA_AND_CHECKS if room == "fleet" else knows_the_fleet(tree)
        if serves and not is_left_out:
            found |= {(called(node.value), node.attr) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for template in ROOT.rglob("*.j2"):
        found |= set(re.findall(r"(\w+)\.([a-z_]+)", " ".join(re.findall(r"\{[{%].*?[%}]\}", template.read_text()))))
    return frozenset(found)


def called(node: ast.expr) -> str:
    """The last name of what has an attribute."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def knows_the_fleet(tree: ast.AST) -> bool:
    modules = (node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return any(module.startswith("spoe_agent.fleet") for module in modules)


def sections(of: Any) -> Iterator[type[BaseModel]]:
    """The sections in a key's type: alone, in a list, or where it may be missing."""
    if isinstance(of, type) and issubclass(of, BaseModel):
        yield of
    for inner in get_args(of):
        yield from sections(inner)


def keys(section: type[BaseModel], before: str) -> Iterator[tuple[str, str, str]]:
    """Every key as it stands in the file, with its section's name and its own."""
    for name, field in section.model_fields.items():
        yield f"{before}.{name}", before.rpartition(".")[2], name
        for inner in sections(field.annotation):
            yield from keys(inner, f"{before}.{name}")


def unread(section: type[BaseModel], read: frozenset[tuple[str, str]], before: str = "fleet") -> list[str]:
    return [
        key
        for key, parent, name in keys(section, before)
        if name not in FOR_CHECKS and not any((word, name) in read for word in (parent, *PASSED_AS))
    ]


def test_each_key_of_the_file_is_read() -> None:
    assert unread(FleetFile, attributes()) == []


@pytest.mark.parametrize("resolved", [Fleet, Instance])
def test_each_field_of_the_resolved_fleet_is_read(resolved: type[BaseModel]) -> None:
    read = {name for _, name in attributes("fleet/resolved.py")}
    assert [name for name in resolved.model_fields if name not in read] == []


def test_what_only_checks_go_by_is_in_the_file_and_read_nowhere_else() -> None:
    names = {name for _, _, name in keys(FleetFile, "fleet")}
    assert FOR_CHECKS.keys() <= names
    assert not FOR_CHECKS.keys() & {name for _, name in attributes()}


class MadeUpSettings(OllamaSettings):
    made_up: bool = False


class MadeUpInstance(InstanceEntry):
    ollama: MadeUpSettings = Field(default_factory=MadeUpSettings)


class MadeUpFile(FleetFile):
    made_up_too: int = 0
    agent: int = 0
    instances: tuple[MadeUpInstance, ...] = ()  # type: ignore[assignment]


def test_a_key_that_nobody_reads_is_found_however_deep() -> None:
    """One of them has the name of something else that is read."""
    found = sorted(unread(MadeUpFile, attributes()))
    assert found == ["fleet.agent", "fleet.instances.ollama.made_up", "fleet.made_up_too"]


def test_settings_of_ollama_whose_only_reader_is_gone_are_found() -> None:
    """So it was before instances were started with what the file says."""
    found = unread(OllamaSettings, attributes("instances/environment.py"), "ollama")
    assert {key.removeprefix("ollama.") for key in found} == OllamaSettings.model_fields.keys() - {
        "max_loaded_models",
        "context_length",
        "keep_alive",
        "models",
        "kv_cache_type",
    }
