from __future__ import annotations

import pytest

from bench.live.configs import Upstream, haproxy, nginx

SERVERS = [Upstream("one", "127.0.0.1:9001", 12), Upstream("two", "127.0.0.1:9002", 8)]


@pytest.mark.parametrize(
    "line",
    [
        "listen 127.0.0.1:9000;",
        "zone ollama 256k;",
        "least_conn;",
        "server 127.0.0.1:9001 max_conns=12 max_fails=0;",
        "server 127.0.0.1:9002 max_conns=8 max_fails=0;",
        "proxy_buffering off;",
        "proxy_next_upstream off;",
        "proxy_read_timeout 120000ms;",
        "127.0.0.1:9002 two;",
    ],
)
def test_nginx_counts_for_all_workers_buffers_nothing_and_repeats_nothing(line: str) -> None:
    assert line in [text.strip() for text in nginx("127.0.0.1:9000", SERVERS, 5.0).splitlines()]


@pytest.mark.parametrize(
    ("hashes_model", "lines"),
    [
        pytest.param(False, {"balance leastconn"}, id="leastconn"),
        pytest.param(
            True,
            {
                "option http-buffer-request",
                "http-request set-var(txn.model) req.body,json_query('$.model')",
                "balance hash var(txn.model)",
                "hash-type consistent",
                "hash-balance-factor 125",
            },
            id="bounded hash",
        ),
    ],
)
def test_haproxy_has_one_balance_no_limit_and_no_retries(hashes_model: bool, lines: set[str]) -> None:
    written = [text.strip() for text in haproxy("127.0.0.1:9000", SERVERS, 5.0, hashes_model).splitlines()]

    assert lines <= set(written)
    assert sum(text.startswith("balance ") for text in written) == 1
    assert {"retries 0", "timeout server 120000ms", "server one 127.0.0.1:9001"} <= set(written)
    assert not [text for text in written if "maxconn" in text]
