"""`pointsman demo`: the whole product at work, on simulated or on the user's own Ollamas.

Must not live here: processes (rig), decisions.
"""
