"""The routing policies of the field and ours, compared on simulated fleets: `python -m bench.policies`.

Many simulated Ollama processes share one virtual clock, so that hours pass in seconds and equal seeds give equal
figures. Nothing here routes real requests, and nothing that does may import it.
"""
