"""One message of aider about a new repository, answered by a model at URL; PROGRAM is aider's."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from calls import make

url, program = sys.argv[1:]
QUIET = ("--no-analytics", "--no-check-update", "--no-show-release-notes", "--no-show-model-warnings", "--no-pretty")


with tempfile.TemporaryDirectory() as folder:
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    (Path(folder) / "greet.py").write_text("print('hello')\n")
    environment = {**os.environ, "OLLAMA_API_BASE": url, "HOME": folder}
    command = [program, *QUIET, "--yes-always", "--model", "ollama_chat/alpha", "--message", "hello", "greet.py"]

    def message():
        """Return exit status and what comes after aider's own first words."""
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=180)
        return {"exit": done.returncode, "said": done.stdout.partition("Added greet.py to the chat.")[2].strip()}

    make({"message": message})
