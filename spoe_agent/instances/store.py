"""A model store as Ollama keeps it: manifests/HOST/NAMESPACE/MODEL/TAG, and the blobs that they name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from spoe_agent.fleet import Instance
from spoe_agent.fleet.hosts import same_host
from spoe_agent.routing.names import canonical

OF_SERVICE = Path("/usr/share/ollama/.ollama/models")
"""Where the service that Ollama's installer makes has it."""

_READ_AT_A_LOAD = ("model", "projector", "adapter")


def store_folder(instance: Instance) -> Path:
    """Return the folder of an instance's models, as the fleet file has it."""
    own = "" if instance.store == same_host(instance.host) else instance.store
    return Path(instance.ollama.models or Path.home() / ".ollama" / own / "models")


def found_store(instance: Instance, of_service: Path = OF_SERVICE) -> Path:
    """Return the same; where it is not there, that of Ollama's own service."""
    usual = store_folder(instance)
    is_usual = instance.ollama.models is None and not (usual / "manifests").is_dir()
    return of_service if is_usual and (of_service / "manifests").is_dir() else usual


def weights(store: Path) -> dict[str, tuple[Path, ...]]:
    """Return the files that a load of each model reads, by canonical key. Raises OSError."""
    manifests = store / "manifests"
    models: dict[str, tuple[Path, ...]] = {}
    for path in sorted(manifests.glob("*/*/*/*")):
        host, namespace, model, tag = path.relative_to(manifests).parts
        try:
            models[canonical(f"{host}/{namespace}/{model}:{tag}")] = tuple(_blobs(store, path))
        except ValueError:  # no manifest, or no name that Ollama would read
            continue
    return models


def _blobs(store: Path, manifest: Path) -> Iterator[Path]:
    data = json.loads(manifest.read_bytes())
    layers = data.get("layers") if isinstance(data, dict) else None
    for layer in layers if isinstance(layers, list) else []:
        kind, digest = str(layer.get("mediaType", "")), str(layer.get("digest", ""))
        if kind.rpartition(".")[2] in _READ_AT_A_LOAD and digest.startswith("sha256:"):
            yield store / "blobs" / digest.replace(":", "-")
