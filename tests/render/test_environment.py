"""What a process gets that is started with an environment's file."""

from __future__ import annotations

import subprocess
from pathlib import Path

from spoe_agent.fleet import loads
from spoe_agent.instances.environment import environment
from spoe_agent.render.environment import environment_file
from tests.serving import until

FLEET = r"""
defaults: {env: {OLLAMA_DEBUG: 1, LLAMA_ARG_FIT: 'a $(b) "c" \d'}}
instances:
  - {name: a, url: "http://127.0.0.1:11435", gpus: [0], ollama: {models: '/srv/it''s "$HOME" \`ours\` ', max_queue: 9}}
  - {name: b, url: "http://127.0.0.1:11436", env: {OLLAMA_DEBUG: "2"}, ollama: {origins: ["app://a;b#c"]}}
"""
OF_THE_SHELL = {"PWD", "SHLVL", "_", "OLDPWD"}


async def test_a_real_process_has_exactly_that(tmp_path: Path) -> None:
    for instance in loads(FLEET).instances:
        file = tmp_path / f"{instance.name}.env"
        file.write_text(environment_file(instance))
        script = 'set -a; . "$1"; exec sleep 60'
        child = subprocess.Popen(["env", "-i", "sh", "-c", script, "sh", file])
        proc = Path(f"/proc/{child.pid}")
        try:
            await until(lambda proc=proc: (proc / "comm").read_text() == "sleep\n")
            found = dict(line.split("=", 1) for line in (proc / "environ").read_text().split("\0") if line)
        finally:
            child.kill()
            child.wait()
        assert {name: value for name, value in found.items() if name not in OF_THE_SHELL} == environment(instance)
        assert found["OLLAMA_DEBUG"] == ("1" if instance.name == "a" else "2")
