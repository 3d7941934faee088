"""A simulated Ollama: a scheduler core on virtual time, and a server that speaks Ollama's HTTP in front of it.

It stands in for real instances where there is no GPU: in the demo, in tests, in benchmarks. ``Scheduler`` is the pure
core, driven by any clock; ``SimulatedOllama`` puts it behind a socket. Nothing here is used to route requests.
"""

from spoe_agent.simulator.catalog import DEFAULT_MODELS, Catalog, Model
from spoe_agent.simulator.profile import GPU_SPEEDS, InstanceProfile
from spoe_agent.simulator.scheduler import Scheduler
from spoe_agent.simulator.server import SimulatedOllama

__all__ = [
    "DEFAULT_MODELS",
    "GPU_SPEEDS",
    "Catalog",
    "InstanceProfile",
    "Model",
    "Scheduler",
    "SimulatedOllama",
]
