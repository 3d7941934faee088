"""`pointsman plan`: which GPUs make which instances, and which models live where.

Must not live here: what a model takes (routing.memory), what a fleet file may say (fleet).
"""
