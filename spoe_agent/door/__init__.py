"""What the door answers itself, for the whole fleet: clients see one Ollama.

Must not live here: what an instance answers, who may come (requests), HAProxy's side.
"""
