"""Commands of Ollama's own program at URL; PROGRAM is it."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from calls import make, until

url, program = sys.argv[1:]
folder = tempfile.TemporaryDirectory()
home = Path(folder.name)
environment = {**os.environ, "OLLAMA_HOST": url, "HOME": str(home)}
SHOWN = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|[⠀-⣿]")
"""What moves the cursor, and the wheel that turns while it waits."""


def ollama(*arguments):
    """Return exit status and what was said; of what was redrawn, each line once."""
    done = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, timeout=60)
    said = [line.strip() for line in SHOWN.sub("", done.stdout + done.stderr).replace("\r", "\n").splitlines()]
    return {"exit": done.returncode, "said": list(dict.fromkeys(line for line in said if line))}


def ends_well(*arguments):
    """Of progress only the end is always the same."""
    done = ollama(*arguments)
    return {"exit": done["exit"], "said": done["said"][-1:]}


def names(command):
    """Return the first column of a list."""
    return [line.split()[0] for line in ollama(command)["said"]]


(home / "Modelfile").write_text("FROM alpha\nSYSTEM Be brief.\n")
make(
    {
        "list": lambda: ollama("list"),
        "show": lambda: ollama("show", "alpha"),
        "run": lambda: ollama("run", "alpha", "hello"),
        "ps": lambda: until(lambda: names("ps"), lambda said: "alpha:latest" in said),
        "stop": lambda: ollama("stop", "alpha"),
        "pull": lambda: ends_well("pull", "mistral:7b"),
        "cp": lambda: ollama("cp", "mistral:7b", "twin"),
        "create": lambda: ends_well("create", "mine", "-f", str(home / "Modelfile")),
        "list with what came": lambda: sorted(until(lambda: names("list"), lambda said: len(said) == 7)),
        "rm": lambda: ollama("rm", "twin", "mine", "mistral:7b"),
        "rm of what is not there": lambda: ollama("rm", "twin"),
        "run of what is nowhere": lambda: ends_well("run", "nobody", "hello"),
        "stop of what is not there": lambda: ollama("stop", "nobody"),
    }
)
