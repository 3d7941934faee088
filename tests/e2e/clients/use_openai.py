"""The official openai client against URL. Prints what it got as one JSON object."""

import json
import sys

import openai

client = openai.OpenAI(base_url=f"{sys.argv[1]}/v1", api_key="unused")
messages = [{"role": "user", "content": "hello"}]
whole = client.chat.completions.create(model="alpha", messages=messages, max_tokens=8)
chunks = list(client.chat.completions.create(model="alpha", messages=messages, max_tokens=8, stream=True))
# The client writes `messages` before `model`: the name comes after a megabyte.
long = [{"role": "user", "content": "x" * 1_000_000}]
big = client.chat.completions.with_raw_response.create(model="gamma", messages=long, max_tokens=2)
embedded = client.embeddings.create(model="embed", input=["one", "two"], encoding_format="float")
models = client.models.list()
try:
    client.chat.completions.create(model="nobody-has-this", messages=messages)
    missing = None
except openai.NotFoundError as error:
    missing = [error.status_code, error.body]
print(
    json.dumps(
        {
            "chat": whole.choices[0].message.content,
            "streamed": "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices),
            "big": big.headers["x-pointsman"],
            "embeddings": len(embedded.data),
            "models": sorted(model.id for model in models),
            "missing": missing,
        }
    )
)
