"""Calls of the `ollama` package at URL."""

import sys

import ollama
from calls import HELLO, SHAPE, WEATHER, make, steps, until

client = ollama.Client(host=sys.argv[1])
few = {"num_predict": 8}
RUNNING = ["embed:latest", "alpha:latest"]
make(
    {
        "list": client.list,
        "show": lambda: client.show("alpha"),
        "chat": lambda: client.chat("alpha", HELLO, options=few),
        "chat in a stream": lambda: client.chat("ALPHA:latest", HELLO, options=few, stream=True),
        "chat with tools": lambda: client.chat("alpha", HELLO, options=few, tools=[WEATHER]),
        "chat in a shape": lambda: client.chat("alpha", HELLO, options=few, format=SHAPE),
        "generate": lambda: client.generate("registry.ollama.ai/library/alpha", "hello", options=few),
        "generate in a stream": lambda: client.generate("alpha", "hello", options=few, stream=True),
        "embed": lambda: client.embed("embed", ["one", "two"], dimensions=4),
        "embeddings": lambda: client.embeddings("embed", "one"),
        "ps": lambda: until(client.ps, lambda said: [one.model for one in said.models] == RUNNING),
        "unload": lambda: client.generate("alpha", keep_alive=0),
        "pull": lambda: client.pull("mistral:7b"),
        "pull in a stream": lambda: steps(client.pull("phi4-mini:3.8b", stream=True)),
        "copy": lambda: client.copy("mistral:7b", "twin"),
        "create": lambda: steps(client.create("mine", from_="mistral:7b", system="Be brief.", stream=True)),
        "list with what came": lambda: until(client.list, lambda said: len(said.models) == 7),
        "delete": lambda: [client.delete(name) for name in ("twin", "mine", "mistral:7b", "phi4-mini:3.8b")],
        "delete what is not there": lambda: client.delete("twin"),
        "chat with an unknown model": lambda: client.chat("nobody-has-this", HELLO),
        "stream of an unknown model": lambda: client.chat("nobody-has-this", HELLO, stream=True),
        "chat with no model": lambda: client.chat("", HELLO),
        "chat with a model of embeddings": lambda: client.chat("embed", HELLO),
        "embed with a model of texts": lambda: client.embed("alpha", "one"),
        "show what is not there": lambda: client.show("nobody-has-this"),
        "pull what is nowhere": lambda: client.pull("nobody"),
    }
)
