"""What the arms of agent_throughput are made of: HAProxy's configurations, and wrk's script."""

from __future__ import annotations

PLAIN = """
global
    tune.bufsize {bufsize}
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend plain
    bind 127.0.0.1:{port}
{rules}    default_backend ollama
backend ollama
    balance leastconn
{servers}
"""

READS = "    http-request wait-for-body time 60s\n"

WRK = """
local requests, turn = {}, 0
init = function(files)
    for n, name in ipairs(files) do
        local file = io.open(name, "rb")
        requests[n] = wrk.format("POST", nil, {["Content-Type"] = "application/json"}, file:read("*a"))
        file:close()
    end
end
request = function()
    turn = turn % #requests + 1
    return requests[turn]
end
"""
"""Sends the files that it is given, in turn."""

PLAIN_BUFSIZE = 16_384
"""HAProxy's own default."""

ONE_THREAD = "global\n    nbthread 1\n"
