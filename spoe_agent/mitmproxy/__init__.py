"""What haproxy.cfg does by configuration, for a front end that is Python: limits, fail-over, answers at the door.

Must not live here: the decision (routing, agent), and anything of mitmproxy's (addon).
"""
