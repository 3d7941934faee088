"""What the door does itself, for the whole fleet: clients see one Ollama. It answers lists, and has changes made in
several model stores.

Must not live here: which stores a change is for (routing), who may come (requests), HAProxy's side.
"""
