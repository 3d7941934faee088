"""HTTP/2 without TLS (prior knowledge) against URL, the model behind a megabyte of messages."""

import json
import sys

import httpx

body = {"messages": [{"role": "user", "content": "x" * 1_000_000}], "max_tokens": 2, "model": "gamma"}
with httpx.Client(http1=False, http2=True, timeout=60) as client:
    answer = client.post(f"{sys.argv[1]}/v1/chat/completions", json=body)
print(json.dumps({"version": answer.http_version, "status": answer.status_code, "to": answer.headers["x-pointsman"]}))
