"""HAProxy's side: what is told to it and learned from it beside the questions it asks.

Must not live here: the wire protocol (spop), decisions (routing), anything of Ollama's.
"""
