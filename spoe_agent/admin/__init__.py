"""What operators ask of a running agent, and change in what runs: status, drain, explain; apply, restart, keys.

Must not live here: decisions, telemetry itself. What a key is and may: the room `keys`.
"""
