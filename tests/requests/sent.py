"""A whole request as it is sent: for tables, and for Go to read."""

from __future__ import annotations

from dataclasses import dataclass

JSON = (("Content-Type", "application/json"),)


@dataclass(frozen=True)
class Sent:
    """One request."""

    body: bytes
    path: str = "/api/chat"
    headers: tuple[tuple[str, str], ...] = JSON
    query: str = ""
    method: str = "POST"

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def first(self, name: str) -> str:
        """Return the first header of this name; "" when there is none."""
        return next((value for key, value in self.headers if key == name), "")

    def written(self, body: bytes | None = None) -> bytes:
        """Return it as HTTP/1.1 has it, with another body if one is given."""
        body = self.body if body is None else body
        lines = [f"{self.method} {self.target} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join([*lines, "", ""]).encode() + body
