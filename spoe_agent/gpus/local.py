"""Who reads this host's GPUs: one reader for each vendor; a new one is added here.

By which variable an Ollama is bound to them: `instances.environment`; which devices a unit opens for it: `render`.
"""

from __future__ import annotations

from spoe_agent.gpus.amd import AmdReader
from spoe_agent.gpus.nvml import NvmlReader
from spoe_agent.gpus.poll import Source
from spoe_agent.gpus.threaded import Threaded


def local_sources() -> tuple[Source, ...]:
    """Return the sources that read this host's GPUs. Nothing is touched before they are read."""
    return Threaded(NvmlReader()), Threaded(AmdReader())
