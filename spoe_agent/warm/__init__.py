"""`pointsman warm`: models' files in this host's page cache, which all Ollamas on it load from.

Must not live here: what is in a store (instances.store).
"""
