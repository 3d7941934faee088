"""A model store in a folder, which several simulated instances may share as Ollamas share OLLAMA_MODELS.

A manifest is a JSON file, read again at every look as Ollama does, so what one instance writes all others see at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

from spoe_agent.routing import names
from spoe_agent.simulator.catalog import Catalog, Model


class FolderCatalog(Catalog):
    """The store in a folder."""

    def __init__(self, folder: Path, models: Iterable[Model]) -> None:
        """Make the folder with these models in it, unless it exists. Raises OSError."""
        super().__init__(())
        self._manifests, self._blob_files = folder / "manifests", folder / "blobs"
        if not folder.exists():
            for model in models:
                self.put(model)

    @property
    def models(self) -> tuple[Model, ...]:
        """All that is in it now."""
        return tuple(
            found for path in sorted(self._manifests.glob("*.json")) if (found := self._read(path)) is not None
        )

    def find(self, name: str) -> Model | None:
        """See Catalog."""
        return self._read(self._path(name))

    def put(self, model: Model) -> None:
        """See Catalog."""
        path = self._path(model.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = asdict(model)
        del facts["digest"]
        path.with_suffix(".part").write_text(json.dumps(facts))
        path.with_suffix(".part").replace(path)

    def drop(self, model: Model) -> None:
        """See Catalog."""
        self._path(model.name).unlink(missing_ok=True)

    def blob_bytes(self, digest: str) -> int | None:
        """See Catalog."""
        with suppress(FileNotFoundError):
            return int((self._blob_files / digest).read_text())
        return None

    def put_blob(self, digest: str, size_bytes: int) -> None:
        """See Catalog. Only the size is kept."""
        self._blob_files.mkdir(parents=True, exist_ok=True)
        (self._blob_files / digest).write_text(str(size_bytes))

    def _path(self, name: str) -> Path:
        return self._manifests / f"{quote(names.canonical(name), safe=':')}.json"

    @staticmethod
    def _read(path: Path) -> Model | None:
        """Another instance may delete it at any moment."""
        with suppress(FileNotFoundError):
            return Model(**json.loads(path.read_text()))
        return None
