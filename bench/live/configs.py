"""What nginx and HAProxy are configured with where no agent helps them.

The same for all: no buffering of answers, kept connections to the instances, no retries, `TIMEOUT_S` without a byte.
`x-pointsman` tells which instance answered, as the agent's own configuration does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, StrictUndefined

from bench.policies.bounded_hash import USUAL
from spoe_agent.simulator.virtual.simulation import TIMEOUT_S

BODY_BYTES = 64 * 1024
"""Requests must fit, or the hash sees no model: prompts of the fleets' 4096 tokens have 16 KiB."""

_NGINX = """\
daemon off;
worker_processes 2;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    client_max_body_size 0;
    client_body_buffer_size {{ body_bytes }};
    map $upstream_addr $instance {
        default -;
{% for server in servers %}
        {{ server.address }} {{ server.name }};
{% endfor %}
    }
    upstream ollama {
        # Without shared memory each worker would count for itself.
        zone ollama 256k;
        least_conn;
{% for server in servers %}
        server {{ server.address }} max_conns={{ server.max_connections }} max_fails=0;
{% endfor %}
        keepalive 256;
    }
    server {
        listen {{ listen }};
        location / {
            proxy_pass http://ollama;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host localhost;
            proxy_buffering off;
            proxy_next_upstream off;
            proxy_read_timeout {{ timeout_ms }}ms;
            add_header x-pointsman "$instance least_conn" always;
        }
    }
}
"""

_HAPROXY = """\
global
    tune.bufsize {{ 2 * body_bytes }}
defaults
    mode http
    retries 0
    # Without it HAProxy has the kernel hold first tokens back, up to 200 ms, for more to go with them (MSG_MORE).
    option http-no-delay
    timeout connect 5s
    timeout client {{ timeout_ms }}ms
    timeout server {{ timeout_ms }}ms
    timeout queue {{ timeout_ms }}ms
    timeout http-keep-alive 60s
frontend front
    bind {{ listen }}
{% if hashes_model %}
    option http-buffer-request
    http-request set-var(txn.model) req.body,json_query('$.model')
{% endif %}
    http-response set-header x-pointsman "%s {{ "bounded_hash" if hashes_model else "leastconn" }}"
    default_backend ollama
backend ollama
{% if hashes_model %}
    balance hash var(txn.model)
    hash-type consistent
    hash-balance-factor {{ balance_factor }}
{% else %}
    balance leastconn
{% endif %}
    http-request set-header Host localhost
{% for server in servers %}
    server {{ server.name }} {{ server.address }}
{% endfor %}
"""

_ENVIRONMENT = Environment(
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
)


@dataclass(frozen=True, slots=True)
class Upstream:
    """One instance as a front sees it."""

    name: str
    address: str
    """host:port"""
    max_connections: int
    """Only nginx gets it: the discrete-event arms for HAProxy have no limit."""


def nginx(listen: str, servers: Sequence[Upstream], time_scale: float) -> str:
    """Return nginx.conf: `least_conn` with shared counts and `max_conns`."""
    return _render(_NGINX, listen, servers, time_scale)


def haproxy(listen: str, servers: Sequence[Upstream], time_scale: float, hashes_model: bool) -> str:
    """Return haproxy.cfg: leastconn, or consistent hash of the model with bounded loads."""
    return _render(
        _HAPROXY, listen, servers, time_scale, hashes_model=hashes_model, balance_factor=USUAL.balance_factor
    )


def _render(text: str, listen: str, servers: Sequence[Upstream], time_scale: float, **more: object) -> str:
    return _ENVIRONMENT.from_string(text).render(
        listen=listen,
        servers=servers,
        body_bytes=BODY_BYTES,
        timeout_ms=round(1000 * TIMEOUT_S / time_scale),
        **more,
    )
