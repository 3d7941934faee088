"""The front end on a laptop: mitmproxy's hooks, and what haproxy.cfg does elsewhere (limits, fail-over, refusals).

Must not live here: the decision (routing, agent), sockets of the agent's own. mitmproxy itself is imported only by the
script that it loads, and by what that loads.
"""
