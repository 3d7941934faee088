"""What the GPUs say: readings from NVIDIA's driver, the kernel, exporters and other hosts, as one frozen type.

`reading`, `resolve` and `group` are pure and import the standard library only. Must not live here: decisions, Ollama.
"""
