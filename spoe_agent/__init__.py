"""Pointsman: decides which Ollama instance serves a request. See docs/architecture.md."""

__version__ = "0.1.0"
