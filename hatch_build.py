"""Compiles the decision and SPOP with mypyc into the wheel, when POINTSMAN_COMPILE=1 says so.

What is compiled decides the same in half to two thirds of the time. Without the variable the wheel is pure Python, as a
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
ROOMS = ("routing", "spop")
"""They import the standard library and nothing else."""


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
        modules = [path for room in ROOMS for path in sorted((self._folder / PACKAGE / room).glob("*.py"))]
        names = [str(path.relative_to(self._folder)) for path in modules if path.name != "__init__.py"]
        # Types were checked where this was written; what others' stubs say of it is no reason not to build.
        subprocess.run(
            [sys.executable, "-m", "mypyc", "--ignore-missing-imports", *names], cwd=self._folder, check=True
        )
        shutil.rmtree(self._folder / "build")
        found = [*self._folder.glob("*.so"), *self._folder.glob(f"{PACKAGE}/*/*.so")]
        build_data["force_include"] |= {str(path): str(path.relative_to(self._folder)) for path in found}
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled: the wheel has it."""
        if hasattr(self, "_folder"):
            shutil.rmtree(self._folder)
