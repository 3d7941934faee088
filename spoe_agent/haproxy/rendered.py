"""HAProxy's files as they lie in their folder, against what a fleet gives."""

from __future__ import annotations

from pathlib import Path

from spoe_agent.fleet import Fleet


class Rendered:
    """Compares contents. What a fleet gives is made once."""

    def __init__(self) -> None:
        self._fleet: Fleet | None = None
        self._texts: dict[str, str] = {}

    def differing(self, fleet: Fleet) -> list[str]:
        """Return the names of files that differ or are missing; nothing where the fleet file names no folder."""
        if fleet.haproxy.files is None:
            return []
        # An agent whose fleet file names no folder does not carry the template engine.
        from spoe_agent.haproxy.render import haproxy_files, is_current

        if fleet != self._fleet:
            # Whichever keys there are: their file may be one that this user must not read.
            self._fleet, self._texts = fleet, haproxy_files(fleet, keys=())
        folder = Path(fleet.haproxy.files)
        return [name for name, text in self._texts.items() if not is_current(name, _content(folder / name), text)]


def is_rendered(fleet: Fleet) -> bool:
    """Tell whether HAProxy's files are surely what a fleet gives, for its next start at least."""
    return fleet.haproxy.files is not None and not Rendered().differing(fleet)


def _content(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return None
