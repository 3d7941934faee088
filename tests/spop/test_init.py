import ast
from pathlib import Path

import spoe_agent.spop as spop

ALLOWED = {"collections", "dataclasses", "enum", "functools", "ipaddress", "re", "struct", "typing"}


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module
            yield node.module


def test_public_names():
    assert sorted(spop.__all__) == spop.__all__
    assert all(hasattr(spop, name) for name in spop.__all__)


def test_no_io_no_clock_and_nothing_of_the_project():
    (folder,) = spop.__path__
    for path in Path(folder).glob("*.py"):
        for module in imported_modules(path):
            assert module.startswith("spoe_agent.spop.") or module.split(".")[0] in ALLOWED, (path, module)
