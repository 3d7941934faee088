"""Each Ollama: how it is reached, what it says, whether it is believed.

Must not live here: decisions, what HAProxy is told.
"""
