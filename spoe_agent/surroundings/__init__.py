"""What stands around a fleet file when it is checked: names, GPUs, Ollamas, ports, HAProxy.

Must not live here: rules of the file itself (fleet), the running agent.
"""
