"""The official ollama client against URL, as its README shows it. Prints what it got as one JSON object."""

import json
import sys

import ollama

client = ollama.Client(host=sys.argv[1])
messages = [{"role": "user", "content": "hello"}]
options = {"num_predict": 8}
chat = client.chat(model="alpha", messages=messages, options=options)
streamed = list(client.chat(model="ALPHA:latest", messages=messages, options=options, stream=True))
generated = client.generate(model="registry.ollama.ai/library/alpha", prompt="hello", options=options)
embedded = client.embed(model="embed", input=["one", "two"])
listed = client.list()
try:
    client.chat(model="nobody-has-this", messages=messages)
    missing = None
except ollama.ResponseError as error:
    missing = [error.status_code, error.error]
print(
    json.dumps(
        {
            "chat": chat.message.content,
            "chunks": len(streamed),
            "done": streamed[-1].done,
            "generate": generated.response,
            "embeddings": len(embedded.embeddings),
            "models": sorted(model.model for model in listed.models),
            "running": sorted(model.model for model in client.ps().models),
            "missing": missing,
        }
    )
)
