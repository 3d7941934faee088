"""The text of a first fleet file, with comments. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import chain, count

from spoe_agent.fleet.urls import FIRST_PORT, USUAL_PORT
from spoe_agent.gpus.resolve import bound_by
from spoe_agent.init.instances import DraftInstance, entries, mib
from spoe_agent.init.machine import Machine
from spoe_agent.routing.names import display

_SHOWN_MODELS = 20

_DEFAULTS = """\
defaults:                     # merged under each instance; what an instance says itself wins
  num_parallel: 4             # OLLAMA_NUM_PARALLEL: requests that a loaded model serves at a time
  ollama:
    context_length: 4096      # OLLAMA_CONTEXT_LENGTH, tokens per slot; Ollama's own choice depends on GPUs
    max_loaded_models: 3      # OLLAMA_MAX_LOADED_MODELS
"""


def draft(machine: Machine, is_free: Callable[[int], bool]) -> str:
    """Return a fleet file for a machine. `is_free` tells whether nobody listens at a port."""
    taken = {one.listen.port for one in machine.running}
    ports = (port for port in count(FIRST_PORT) if port not in taken and is_free(port))
    front = next(chain((port for port in (USUAL_PORT,) if port not in taken and is_free(port)), ports))
    instances = entries(machine, ports)
    parts = [
        [*found(machine), "`pointsman check` checks this file; `pointsman schema` prints what every key means."],
        *([_front_taken(machine)] if front != USUAL_PORT else []),
    ]
    head = "#\n".join("".join(f"# {line}\n" for line in part) for part in parts)
    text = f"{head}\nlisteners:\n  front: 127.0.0.1:{front}      # clients connect here\n\n"
    text += "".join(_gpus(machine))
    text += "" if machine.running else f"{_DEFAULTS}\n"
    return text + "instances:\n" + "".join(chain.from_iterable(map(_instance, instances))) + "".join(_models(machine))


def found(machine: Machine) -> list[str]:
    """Return what was found, a sentence each."""
    gpus = _count(len(machine.gpus), "GPU") if machine.gpus else "no GPU"
    broken = [f"{gpu.uuid} cannot be used: it {gpu.fault}." for gpu in machine.gpus if gpu.fault is not None]
    running = [
        f"Ollama {one.version} runs at {one.listen}, with {_count(len(one.models), 'model')}."
        for one in machine.running
    ]
    ollama = machine.ollama
    haproxy = machine.haproxy
    return [
        f"Written by `pointsman init`, which found {gpus} on this machine.",
        *([] if machine.gpus else [f"GPUs: {why}" for why in machine.unread]),
        *broken,
        *running,
        f"ollama {ollama.version} is at {ollama.path}." if ollama else "ollama is not on the path: install it.",
        f"HAProxy {haproxy.version} is at {haproxy.path}." if haproxy else "HAProxy is not on the path: install it.",
    ]


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _front_taken(machine: Machine) -> list[str]:
    if any(one.listen.port == USUAL_PORT for one in machine.running):
        return [
            f"An Ollama has port {USUAL_PORT}, where clients look for one, so the front has another. For clients to",
            f"change nothing: start that Ollama with OLLAMA_HOST=127.0.0.1:{FIRST_PORT} or another port that is free,",
            f"write that port in its url below, and {USUAL_PORT} as the front's.",
        ]
    return [
        f"Port {USUAL_PORT}, where clients look for an Ollama, is taken, so the front has another.",
        f"Write {USUAL_PORT} there once it is free.",
    ]


def _gpus(machine: Machine) -> Iterator[str]:
    if not machine.gpus:
        return
    yield "gpus:                         # an instance's vram is the sum over its GPUs\n"
    for gpu in machine.gpus:
        size = f", memory: {mib(gpu.memory_total_bytes)}" if gpu.memory_total_bytes else ""
        index = "" if gpu.index is None else f" {gpu.index}"
        name = f": {_plain(gpu.name)}" if gpu.name else ""
        yield f"  - {{id: {json.dumps(bound_by(gpu))}{size}}}    # GPU{index}{name}\n"
    yield "\n"


def _instance(entry: DraftInstance) -> Iterator[str]:
    yield from (f"  # {line}\n" for line in entry.remarks)
    yield f"  - name: {entry.name}\n    url: http://{entry.listen}\n"
    if entry.gpus:
        yield f"    gpus: [{', '.join(json.dumps(bound_by(gpu)) for gpu in entry.gpus)}]\n"
    if entry.is_shared:
        yield "    shared: true\n"
    if entry.vram_bytes is not None:
        told = "" if entry.vram_bytes else "                   # no GPU: its models run on the CPU"
        yield f"    vram: {mib(entry.vram_bytes)}{told}\n"
    yield from (f"    {key}: {value}\n" for key, value in entry.settings.items())
    if entry.ollama:
        yield "    ollama:\n"
        yield from (f"      {key}: {json.dumps(value)}\n" for key, value in entry.ollama.items())


def _models(machine: Machine) -> Iterator[str]:
    """Yield a comment that names what is installed: no rule is needed for any of them."""
    sizes = {key: size for one in machine.running for key, size in one.models.items()}
    if sizes:
        yield "\n# Installed; models need no entry here, `models:` is for what is to be different for some:\n"
        for key, size in sorted(sizes.items())[:_SHOWN_MODELS]:
            yield f"#   {_plain(display(key))} ({size / 1e9:.1f} GB)\n"
    if len(sizes) > _SHOWN_MODELS:
        yield f"#   and {len(sizes) - _SHOWN_MODELS} more\n"


def _plain(text: str | None) -> str:
    """Keep a comment on its line, whatever a driver or a server calls things."""
    return ascii(text or "")[1:-1]
