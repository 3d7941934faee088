"""What operators see and do while the agent runs: status, drain, ready.

Must not live here: decisions, telemetry itself.
"""
