"""The decision log: every request in a file of JSON lines, written beside serving and read by `pointsman replay`.

Must not live here: what is in a request's row (agent.rows), what is made of the rows (replay).
"""
