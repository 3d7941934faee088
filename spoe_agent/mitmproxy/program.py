"""mitmproxy's program without a terminal of its own: where it is, which version."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

DEADLINE_S = 60.0


def find() -> str | None:
    """Return the mitmdump to use: $MITMDUMP, else the one beside this Python, else on the path; None: there is none."""
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return shutil.which(os.environ.get("MITMDUMP") or "mitmdump", path=places)


def version(binary: str) -> str:
    """Return `11.0.2` of `Mitmproxy: 11.0.2 ...`. Raises OSError or SubprocessError."""
    command = [binary, "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE_S).stdout
    found = re.search(r"Mitmproxy: (\S+)", said)
    return found[1] if found else "unknown"
