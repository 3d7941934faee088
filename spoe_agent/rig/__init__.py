"""Real processes on free loopback ports: simulated Ollamas, the agent, HAProxy. For the demo, benchmarks and tests.

Must not live here: traffic, measurements, anything a production agent needs.
"""
