"""Calls of the `openai` package at URL."""

import sys

import openai
from calls import HELLO, SHAPE, WEATHER, make

client = openai.OpenAI(base_url=f"{sys.argv[1]}/v1", api_key="unused", max_retries=0)
chat, few = client.chat.completions.create, {"messages": HELLO, "max_tokens": 8}
# The client writes `messages` before `model`: the name comes after a megabyte.
long = [{"role": "user", "content": "x" * 1_000_000}]
shape = {"type": "json_schema", "json_schema": {"name": "shape", "schema": SHAPE}}
make(
    {
        "models": client.models.list,
        "model": lambda: client.models.retrieve("alpha"),
        "chat": lambda: chat(model="alpha", **few),
        "chat in a stream": lambda: chat(model="alpha", stream=True, stream_options={"include_usage": True}, **few),
        "chat with tools": lambda: chat(model="alpha", tools=[WEATHER], **few),
        "chat in a shape": lambda: chat(model="alpha", response_format=shape, **few),
        "chat with a long message": lambda: chat(model="alpha", messages=long, max_tokens=2),
        "completion": lambda: client.completions.create(model="alpha", prompt="hello", max_tokens=8),
        "response": lambda: client.responses.create(model="alpha", input="hello", max_output_tokens=8),
        "response in a stream": lambda: [
            event.type
            for event in client.responses.create(model="alpha", input="hello", max_output_tokens=8, stream=True)
        ],
        "embeddings": lambda: client.embeddings.create(model="embed", input=["one", "two"], dimensions=4),
        "transcription": lambda: client.audio.transcriptions.create(model="alpha", file=("a.wav", b"RIFF0000WAVE")),
        "chat with an unknown model": lambda: chat(model="nobody-has-this", **few),
        "stream of an unknown model": lambda: chat(model="nobody-has-this", stream=True, **few),
        "unknown model": lambda: client.models.retrieve("nobody-has-this"),
        "chat of a wrong type": lambda: chat(model="alpha", messages=HELLO, max_tokens="many"),
        "chat without messages": lambda: chat(model="alpha", messages=[]),
        "embeddings with a model of texts": lambda: client.embeddings.create(model="alpha", input="one"),
    }
)
