"""Compiles what every request passes with mypyc into the wheel, when POINTSMAN_COMPILE=1 says so.

The agent then takes at least a quarter less time for a request. Without the variable the wheel is pure Python, as a
checkout is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "spoe_agent"
COMPILED = (
    *("routing/*", "spop/*", "requests/*", "agent/*", "haproxy/bridge", "haproxy/contact", "haproxy/log"),
    *("haproxy/processes", "haproxy/questions", "haproxy/server", "haproxy/tally", "instances/avoidance"),
    *("instances/ended", "instances/failures", "instances/health", "instances/others", "instances/usual"),
    *("instances/watch", "instances/watched"),
)
PURE = (
    "*/__init__",
    # pydantic writes and reads what they define (the state, the estate), and needs Python's own classes for that.
    *("routing/change", "routing/choice", "routing/facts", "routing/hold", "routing/memory", "routing/rights"),
    *("routing/wishes", "routing/words", "agent/grant", "agent/preload", "agent/rows", "agent/statefile"),
    # Tests put faults in by deriving from their classes, which compiled ones do not allow.
    *("agent/agent", "agent/unloading"),
    "agent/recent",  # derives from OrderedDict, and crashes compiled
    "requests/*_command",
    "requests/caller",  # mypyc does not take what `re` leaves untyped
    "requests/foreign",  # nor a star within a tuple
    "requests/form",  # where a slice of bytes would end before it begins, it is empty in Python, and an error compiled
)
"""Of these, what stays as it is."""


class CompileHook(BuildHookInterface[Any]):
    """Of hatchling; it knows it as `custom`."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return what the build needs beside hatchling."""
        return ["mypy[mypyc]>=1.14,<3"] if self._is_wanted else []

    @property
    def _is_wanted(self) -> bool:
        return self.target_name == "wheel" and os.environ.get("POINTSMAN_COMPILE") == "1"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and have the wheel take what came of it. An editable one is a checkout's, and stays as it is."""
        if not self._is_wanted or version == "editable":
            return
        self._folder = Path(tempfile.mkdtemp(prefix="pointsman-compiled-"))
        shutil.copytree(Path(self.root) / PACKAGE, self._folder / PACKAGE)
        package = self._folder / PACKAGE
        pure = {path for pattern in PURE for path in _of(package, pattern)}
        wanted = [path for pattern in COMPILED for path in _of(package, pattern) if path not in pure]
        names = [str(path.relative_to(self._folder)) for path in wanted]
        # Types were checked where this was written; what others' stubs say of it is no reason not to build.
        subprocess.run(
            [sys.executable, "-m", "mypyc", "--ignore-missing-imports", *names], cwd=self._folder, check=True
        )
        shutil.rmtree(self._folder / "build")
        found = [*self._folder.glob("*.so"), *self._folder.glob(f"{PACKAGE}/*/*.so")]
        if len(found) != len(wanted) + 1:  # one for each, and what all share
            raise RuntimeError(f"mypyc made {len(found)} libraries of {len(wanted)} modules")
        build_data["force_include"] |= {str(path): str(path.relative_to(self._folder)) for path in found}
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled: the wheel has it."""
        if hasattr(self, "_folder"):
            shutil.rmtree(self._folder)


def _of(package: Path, pattern: str) -> list[Path]:
    """Return the modules of a pattern above. Raises ValueError when there is none: it was renamed."""
    found = sorted(package.glob(f"{pattern}.py"))
    if not found:
        raise ValueError(f"hatch_build.py: there is no {PACKAGE}/{pattern}.py")
    return found
