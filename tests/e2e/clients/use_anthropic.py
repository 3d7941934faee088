"""Calls of the `anthropic` package at URL."""

import sys

import anthropic
from calls import HELLO, SHAPE, make

client = anthropic.Anthropic(base_url=sys.argv[1], api_key="unused", max_retries=0)
few = {"messages": HELLO, "max_tokens": 8}
weather = {"name": "weather", "description": "Tell the weather.", "input_schema": SHAPE}


def streamed():
    """By the package's own helper, which puts the events together."""
    with client.messages.stream(model="alpha", **few) as stream:
        return {"texts": list(stream.text_stream), "message": stream.get_final_message().model_dump(mode="json")}


make(
    {
        "message": lambda: client.messages.create(model="alpha", **few),
        "message in a stream": streamed,
        "events of a stream": lambda: client.messages.create(model="alpha", stream=True, **few),
        "message with tools": lambda: client.messages.create(model="alpha", tools=[weather], **few),
        "message with a system text": lambda: client.messages.create(model="alpha", system="Be brief.", **few),
        "models": client.models.list,
        "unknown model": lambda: client.messages.create(model="nobody-has-this", **few),
        "stream of an unknown model": lambda: client.messages.create(model="nobody-has-this", stream=True, **few),
        "no tokens": lambda: client.messages.create(model="alpha", messages=HELLO, max_tokens=0),
        "count of tokens": lambda: client.messages.count_tokens(model="alpha", messages=HELLO),
    }
)
