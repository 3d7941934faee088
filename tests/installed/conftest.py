"""The wheel and the sdist, built from what git knows, each installed into an empty environment far from the checkout.

The environments get what the package's metadata asks for, from pip's usual place: only that proves it complete.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def tracked() -> set[str]:
    """Return the files of the tree that git knows or would take, and that are there."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {name for name in listed.split("\0") if name and (ROOT / name).is_file()}


@dataclass(frozen=True, slots=True)
class Built:
    """What was built, and what is in it, by name below its root."""

    wheel: Path
    sdist: Path

    def in_wheel(self) -> set[str]:
        return set(zipfile.ZipFile(self.wheel).namelist())

    def in_sdist(self) -> set[str]:
        with tarfile.open(self.sdist) as archive:
            return {name.partition("/")[2] for name in archive.getnames()}


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment that has nothing but Pointsman, and a folder of the user's own to work in."""

    bin: Path
    folder: Path

    def run(self, *command: str | Path, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment."""
        program, *arguments = command
        return subprocess.run(
            [self.bin / program, *arguments],
            cwd=self.folder,
            env=self.env(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def env(self) -> dict[str, str]:
        """Return the environment's variables: nothing in them leads to the checkout."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return {**kept, "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture(scope="package")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Both distributions, from a copy of the tree: a checkout's leftovers stay out."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in tracked():
        copy = source / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return Built(wheel, sdist)


def installed(what: str, folder: Path) -> Installed:
    """Install into an environment of its own, with the versions that everything is tested with."""
    venv.create(folder / "env", symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "env" / "bin" / "python"), "--no-input"]
    command = [*pip, "install", "--quiet", "--no-compile", "-c", str(ROOT / "constraints.txt"), what]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    work = folder / "work"
    work.mkdir()
    return Installed(folder / "env" / "bin", work)


@pytest.fixture(scope="package")
def from_wheel(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """As `pip install pointsman` gives it."""
    return installed(str(built.wheel), tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="package")
def from_sdist(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """As `pip install --no-binary pointsman 'pointsman[mitmproxy]'` gives it."""
    return installed(f"{built.sdist}[mitmproxy]", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(params=["from_wheel", "from_sdist"])
def package(request: pytest.FixtureRequest) -> Installed:
    """Each of the two."""
    found: Installed = request.getfixturevalue(request.param)
    return found
