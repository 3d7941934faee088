"""The models a simulated instance has in its store: names, sizes, shapes.

Here: immutable facts about models, the look-up by name, and a store in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from spoe_agent.routing import names
from spoe_agent.simulator.profile import GB


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of the model store.

    ``blob`` is the scheduler's identity of the model: two names over the same blob share one runner, as in
    Ollama (schedulerModelKey, sched.go). It is derived from the name when left empty.
    """

    name: str
    size_bytes: int
    kv_bytes_per_token: int = 131_072
    context_limit: int = 131_072
    num_ctx: int | None = None
    """The context that its Modelfile asks for (PARAMETER num_ctx), instead of the instance's."""
    layers: int = 32
    family: str = "llama"
    parameter_size: str = "8.0B"
    embedding_length: int = 4096
    embedding_only: bool = False
    tools: bool = True
    """It can call tools: its template has a place for them."""
    thinking: bool = False
    single_slot: bool = False
    """Ollama serves this architecture one request at a time, whatever OLLAMA_NUM_PARALLEL says."""
    blob: str = ""
    digest: str = field(init=False)
    """SHA-256 of the manifest in hexadecimal, as /api/tags and /api/ps print it: of a copy it is the same."""

    def __post_init__(self) -> None:
        if not self.blob:
            object.__setattr__(self, "blob", sha256(f"blob {self.name}".encode()).hexdigest())
        object.__setattr__(self, "digest", sha256(f"manifest {self.blob} {self.num_ctx}".encode()).hexdigest())

    def slots(self, num_parallel: int) -> int:
        """Requests that one runner of this model serves at the same time (sched.go, numParallel)."""
        return 1 if self.single_slot or self.embedding_only else num_parallel

    def memory_bytes(self, num_ctx: int, slots: int) -> int:
        """Memory of a runner as /api/ps says it: weights, the KV cache of every slot, and buffers. Measured: within 2 %
        for 1B to 8B in Q4, Q8 and F16, whose caches are known (v0.33.0-rc2, H100).
        """
        return int(self.size_bytes + slots * num_ctx * self.kv_bytes_per_token + 0.1 * GB)


class Catalog:
    """The store of one instance, looked up the way Ollama does: by canonical name, ignoring case."""

    def __init__(self, models: Iterable[Model]) -> None:
        self._by_key = {names.canonical(model.name): model for model in models}
        self._blobs: dict[str, int] = {}
        self.partial: dict[str, int] = {}
        """Files of models that are fetched or were left, by digest: how many parts are there."""

    @property
    def models(self) -> tuple[Model, ...]:
        """All that is in it now."""
        return tuple(self._by_key.values())

    def find(self, name: str) -> Model | None:
        """Return the model that a client means by ``name``; None if the store lacks it.

        Raises ValueError when ``name`` is not a model name at all.
        """
        return self._by_key.get(names.canonical(name))

    def put(self, model: Model) -> None:
        """Add a model, or replace the one of that name."""
        self._by_key[names.canonical(model.name)] = model

    def drop(self, model: Model) -> None:
        """Take a model out."""
        del self._by_key[names.canonical(model.name)]

    def blob_bytes(self, digest: str) -> int | None:
        """Return the size of an uploaded blob; None if it is not there."""
        return self._blobs.get(digest)

    def put_blob(self, digest: str, size_bytes: int) -> None:
        """Add a blob."""
        self._blobs[digest] = size_bytes


def _model(
    name: str, gigabytes: float, parameters: str, family: str, layers: int, kv: int, thinking: bool = False
) -> Model:
    """An entry in short form; ``kv`` is kv_heads x head_dim, of which f16 K and V take four bytes each."""
    return Model(
        name=name,
        size_bytes=round(gigabytes * GB),
        kv_bytes_per_token=4 * layers * kv,
        layers=layers,
        family=family,
        parameter_size=parameters,
        thinking=thinking,
    )


DEFAULT_MODELS = (
    _model("llama3.2:1b", 1.3, "1.2B", "llama", 16, 8 * 64),
    _model("llama3.2:3b", 2.0, "3.2B", "llama", 28, 8 * 128),
    _model("phi4-mini:3.8b", 2.5, "3.8B", "phi3", 32, 8 * 128),
    _model("gemma3:4b", 3.3, "4.3B", "gemma3", 34, 4 * 256),
    _model("mistral:7b", 4.1, "7.2B", "llama", 32, 8 * 128),
    _model("llama3.1:8b", 4.7, "8.0B", "llama", 32, 8 * 128),
    _model("deepseek-r1:7b", 4.7, "7.6B", "qwen2", 28, 4 * 128, thinking=True),
    _model("gemma3:12b", 8.1, "12.2B", "gemma3", 48, 8 * 256),
    _model("phi4:14b", 9.1, "14.7B", "phi3", 40, 10 * 128),
    _model("gemma2:27b", 16.0, "27.2B", "gemma2", 46, 16 * 128),
    _model("qwq:32b", 20.0, "32.8B", "qwen2", 64, 8 * 128, thinking=True),
    _model("llama3.3:70b", 43.0, "70.6B", "llama", 80, 8 * 128),
    Model(
        name="nomic-embed-text:latest",
        size_bytes=round(0.274 * GB),
        kv_bytes_per_token=4 * 12 * 12 * 64,
        context_limit=2048,
        layers=12,
        family="nomic-bert",
        parameter_size="137M",
        embedding_length=768,
        embedding_only=True,
    ),
)
