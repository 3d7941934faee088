"""Each Ollama, and what is asked of it.

Must not live here: decisions, HAProxy.
"""
