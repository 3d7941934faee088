"""Ollama's children that outlived it: after a crash of `ollama serve` its llama-server goes on and holds GPU memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import PurePath

import psutil

from spoe_agent.gpus.reading import GpuReading

PROGRAM = "ollama"

GIB = 1 << 30

Look = Callable[[int], tuple[list[str], str] | None]
"""Returns the words of a process's command and its parent's name; None: there is no such process."""


def look(pid: int) -> tuple[list[str], str] | None:
    """Look a process of this host up."""
    with suppress(OSError, psutil.Error):
        process = psutil.Process(pid)
        parent = process.parent()
        return process.cmdline(), "" if parent is None else parent.name()
    return None


def orphans(readings: Iterable[GpuReading], look: Look = look) -> dict[int, int]:
    """Return the processes on these GPUs, this host's, that were an Ollama's children and are alone: bytes by pid."""
    held: dict[int, int] = {}
    for reading in readings:
        processes: Mapping[int, int] = reading.processes or {}
        for pid, size in processes.items():
            held[pid] = held.get(pid, 0) + size
    found = ((pid, size, look(pid)) for pid, size in sorted(held.items()))
    return {
        pid: size
        for pid, size, about in found
        if about is not None and is_ollamas(about[0]) and not about[1].startswith(PROGRAM)
    }


def left_over(found: Mapping[int, int]) -> list[str]:
    """Return a sentence for each orphan."""
    return [
        f"process {pid} is left over from an Ollama that ended, and holds {size / GIB:.1f} GiB of GPU memory: end it"
        for pid, size in found.items()
    ]


def is_ollamas(words: list[str]) -> bool:
    """Tell whether a command is one that Ollama starts: its own llama-server (llm/llama_binary.go), or `ollama runner`.
    Somebody else's llama-server is not in a folder of Ollama's.
    """
    if not words:
        return False
    path = PurePath(words[0])
    if path.name == PROGRAM:
        return words[1:2] == ["runner"]
    return path.name.startswith("llama-server") and PROGRAM in path.parts[:-1]
