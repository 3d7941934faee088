"""HTTP/2 without TLS (prior knowledge) against URL, the model behind SIZE bytes of messages; HOST is `:authority`."""

import json
import sys

import httpx

url, size, *host = sys.argv[1:]
body = {"messages": [{"role": "user", "content": "x" * int(size)}], "max_tokens": 2, "model": "gamma"}
with httpx.Client(http1=False, http2=True, timeout=60) as client:
    headers = {"Host": host[0]} if host else {}
    answer = client.post(f"{url}/v1/chat/completions", json=body, headers=headers)
print(json.dumps({"version": answer.http_version, "status": answer.status_code, "to": answer.headers["x-pointsman"]}))
