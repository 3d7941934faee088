"""The architecture, as far as imports show it: who may know whom (docs/architecture.md)."""

import ast
import re
from pathlib import Path

import pytest

import spoe_agent

ROOT = Path(spoe_agent.__file__).parent
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


def test_the_packages_are_where_they_are_looked_for():
    for package in ("routing", "spop", "telemetry", "fleet", "bridge", "agent", "server", "cli", "serve"):
        assert f"spoe_agent.{package}" in IMPORTS
    assert "spoe_agent.routing.names.canonical" in IMPORTS["spoe_agent.instances.ollama"]


IMPURE = {"asyncio", "time", "datetime", "random", "secrets", "uuid", "logging", "socket", "os", "sys", "pathlib", "io"}
IMPURE |= {"threading", "subprocess", "signal", "select", "tempfile", "shutil", "http", "urllib", "structlog"}


def test_routing_is_pure():
    assert not project_imports("spoe_agent.routing")
    used = standard_imports("spoe_agent.routing")
    assert not used & IMPURE
    pure = {"collections", "dataclasses", "enum", "fnmatch", "functools", "math", "re", "types", "typing", "zlib"}
    assert used <= {"__future__"} | pure


def test_spop_knows_nothing_but_itself():
    assert not project_imports("spoe_agent.spop")
    assert not standard_imports("spoe_agent.spop") & (IMPURE - {"io"})


def test_telemetry_knows_what_a_snapshot_is_made_of():
    """And what is learned, which the learner makes; no part of the decision."""
    allowed = ("snapshot", "facts", "names", "learned", "surface", "choice.Tier")
    known = project_imports("spoe_agent.telemetry") - {"spoe_agent.routing", "spoe_agent.routing.choice"}
    assert all(within(name, *(f"spoe_agent.routing.{one}" for one in allowed)) for name in known)


def test_the_bridge_knows_spop_routing_and_bodies():
    allowed = ("spoe_agent.spop", "spoe_agent.routing", "spoe_agent.requests")
    assert all(within(name, *allowed) for name in project_imports("spoe_agent.haproxy.bridge"))


def test_nobody_else_joins_spop_and_routing():
    """`server` and `decisions` hand what they get from one to the other, and so name both; they look into neither."""
    both = users_of("spoe_agent.spop") & users_of("spoe_agent.routing")
    assert both <= {"spoe_agent.haproxy.bridge", "spoe_agent.haproxy.server", "spoe_agent.haproxy.decisions"}


def test_what_both_fronts_read_is_read_without_knowing_them():
    """What is read is put in routing's words; decisions are not known here."""
    words = ("spoe_agent.requests", "spoe_agent.routing.change", "spoe_agent.routing.names")
    assert all(within(name, *words) for name in project_imports("spoe_agent.requests"))


def test_the_agent_knows_decisions_and_the_board_only():
    """And the learner; of the client that asks Ollama, how it fails."""
    own = ("agent", "chooser", "decided", "waiting", "reservations", "recent", "second_look")
    live = ("telemetry.board", "telemetry.account", "telemetry.learner")
    allowed = [f"spoe_agent.{name}" for name in ("routing", *live, *own)]
    failure = {"spoe_agent.instances.ollama", "spoe_agent.instances.ollama.UnexpectedAnswer"}
    for module in own:
        assert all(within(name, *allowed) for name in project_imports(f"spoe_agent.{module}") - failure)


@pytest.mark.parametrize(
    ("package", "users"),
    [
        ("addon", set()),
        ("spoe_agent.haproxy.server", {"spoe_agent.service"}),
        ("spoe_agent.service", {"spoe_agent.serve"}),
        ("spoe_agent.cli", {"spoe_agent.__main__"}),
    ],
)
def test_the_outermost_are_imported_by_nobody(package, users):
    assert users_of(package) == users


@pytest.mark.parametrize("package", ["spoe_agent.simulator", "spoe_agent.rig", "spoe_agent.demo"])
def test_what_is_for_trying_out_stays_out_of_the_product(package):
    product = ("routing", "spop", "telemetry", "fleet", "bridge", "body", "agent", "server", "serve")
    assert not {user for user in users_of(package) if within(user, *(f"spoe_agent.{name}" for name in product))}


@pytest.mark.parametrize("path", [path for path in FILES if not path.name.startswith("__")], ids=module_name)
def test_each_module_says_what_must_not_live_there(path):
    text = (ast.get_docstring(ast.parse(path.read_text())) or "").lower()
    said = re.search(r"\b(not|no|nothing|nobody|only|never|without|knows neither)\b", text)
    assert said, "say what lives here, and what must not"
