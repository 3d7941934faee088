"""The architecture, as far as imports show it: who may know whom (docs/architecture.md)."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import spoe_agent

ROOT = Path(spoe_agent.__file__).parent
MAP = ROOT.parent / "docs" / "architecture.md"
FILES = sorted(ROOT.rglob("*.py"))


def module_name(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """Every module that a file imports anywhere in it; `from a import b` is both `a` and `a.b`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the module's full name"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


IMPORTS = {module_name(path): imports(path) for path in FILES}


def within(name, *packages):
    return any(name == package or name.startswith(package + ".") for package in packages)


def users_of(*packages):
    """Modules outside these packages that import any of them."""
    return {
        module
        for module, names in IMPORTS.items()
        if not within(module, *packages) and any(within(name, *packages) for name in names)
    }


def project_imports(package):
    """What a package imports of the project outside itself. The bare top package has nothing but a version."""
    return {
        name
        for module, names in IMPORTS.items()
        if within(module, package)
        for name in names
        if within(name, "spoe_agent") and not within(name, package) and name != "spoe_agent"
    }


def standard_imports(package):
    return {
        name.partition(".")[0]
        for module, names in IMPORTS.items()
        if within(module, package)
        for name in names
        if not within(name, "spoe_agent")
    }


def room_of(name):
    """`spoe_agent.agent.board` is in the room `agent`; the bare top package has nothing but a version."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "spoe_agent" and parts[1] != "__version__" else ""


def rooms():
    """Every room with those that it imports, as docs/architecture.md has them."""
    lines = re.findall(r"^\| `([a-z_]+)(?:\.py)?` \| [^|]+ \| ([^|]*)\|$", MAP.read_text(), re.M)
    return {room: set(re.findall(r"`([a-z_]+)`", known)) for room, known in lines}


ROOMS = rooms()


def test_the_map_has_every_room():
    assert {room_of(module) for module in IMPORTS} - {"", "__main__"} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_those_that_the_map_says(room):
    known = {room_of(name) for module in IMPORTS if room_of(module) == room for name in IMPORTS[module]}
    assert known - {"", room} == ROOMS[room]


def test_no_arrow_leads_back():
    graph = TopologicalSorter(ROOMS)
    assert set(graph.static_order()) == set(ROOMS)


IMPURE = {"asyncio", "time", "datetime", "random", "secrets", "uuid", "logging", "socket", "os", "sys", "pathlib", "io"}
IMPURE |= {"threading", "subprocess", "signal", "select", "tempfile", "shutil", "http", "urllib", "structlog"}


def test_routing_is_pure():
    assert not project_imports("spoe_agent.routing")
    used = standard_imports("spoe_agent.routing")
    assert not used & IMPURE
    pure = {
        "collections",
        "dataclasses",
        "difflib",
        "enum",
        "fnmatch",
        "functools",
        "math",
        "re",
        "types",
        "typing",
        "zlib",
    }
    assert used <= {"__future__"} | pure


def test_spop_knows_nothing_but_itself():
    assert not project_imports("spoe_agent.spop")
    assert not standard_imports("spoe_agent.spop") & (IMPURE - {"io"})


@pytest.mark.parametrize("module", ["spoe_agent.cli", "spoe_agent.render.command", "spoe_agent.serve_command", "addon"])
def test_the_outermost_are_imported_by_nobody(module):
    assert users_of(module) <= {"spoe_agent.__main__"}


@pytest.mark.parametrize("room", ["simulator", "rig", "demo", "replay", "bench", "tests"])
def test_what_is_for_trying_out_stays_out_of_the_product(room):
    trying = {"simulator", "rig", "demo", "replay"}
    package = f"spoe_agent.{room}" if room in trying else room
    assert {room_of(user) for user in users_of(package)} <= trying
