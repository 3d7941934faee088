"""What the arms of agent_throughput are made of: HAProxy's configurations, and wrk's script."""

from __future__ import annotations

import json

MODELS = json.dumps({"models": [{"model": "alpha:latest", "size": 5_000_000_000, "size_vram": 5_000_000_000}]})

UPSTREAM = """
global
    nbthread 1
    tune.bufsize {bufsize}
defaults
    mode http
    timeout client 60s
frontend ollama
{binds}
    http-request wait-for-body time 60s if METH_POST
    http-request return status 200 content-type application/json string '{models}' if {{ path /api/ps /api/tags }}
    http-request return status 200 content-type application/json string '{{"version":"0"}}' if {{ path /api/version }}
    http-request return status 200 content-type application/json string '{{"done":true}}'
"""

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
init = function()
    for n = 1, %d do
        local file = io.open(string.format("%s/body%%d", n), "rb")
        requests[n] = wrk.format("POST", nil, {["Content-Type"] = "application/json"}, file:read("*a"))
        file:close()
    end
end
request = function()
    turn = turn %% #requests + 1
    return requests[turn]
end
"""

PLAIN_BUFSIZE = 16_384
"""HAProxy's own default."""

ONE_THREAD = "global\n    nbthread 1\n"
