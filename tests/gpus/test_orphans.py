import os

import pytest

from spoe_agent.gpus.orphans import left_over, look, orphans
from spoe_agent.gpus.reading import GpuReading

GIB = 1 << 30
SERVER, RUNNER = ["/usr/lib/ollama/llama-server", "--model", "x"], ["/usr/bin/ollama", "runner", "--mlx-engine"]


@pytest.mark.parametrize(
    ("words", "parent", "is_orphan"),
    [
        (SERVER, "systemd", True),
        (SERVER, "", True),
        (SERVER, "ollama", False),
        (RUNNER, "systemd", True),
        (RUNNER, "ollama", False),
        (["/usr/bin/ollama", "serve"], "systemd", False),
        (["/opt/llama.cpp/llama-server"], "systemd", False),
        (["/usr/bin/python3", "train.py"], "bash", False),
        ([], "", False),
    ],
)
def test_what_is_left_over_from_an_ollama_is_named(words, parent, is_orphan):
    gpus = [GpuReading("GPU-a", processes={7: 2 * GIB}), GpuReading("GPU-b", processes={7: GIB})]
    found = orphans(gpus, {7: (words, parent)}.get)
    assert found == ({7: 3 * GIB} if is_orphan else {})
    assert left_over(found) == (
        ["process 7 is left over from an Ollama that ended, and holds 3.0 GiB of GPU memory: end it"]
        if is_orphan
        else []
    )


def test_who_is_not_there_or_not_shown_is_not_named():
    assert orphans([GpuReading("GPU-a", processes={7: GIB}), GpuReading("GPU-b")], lambda _pid: None) == {}


def test_a_process_is_looked_up():
    words, parent = look(os.getpid())
    assert "python" in words[0] or "pytest" in " ".join(words)
    assert parent
    assert look(2**22 + 1) is None
