"""Calls of the `litellm` package at URL, by Ollama's API and by OpenAI's."""

import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it looks for prices on the internet first

import litellm
from calls import HELLO, SHAPE, WEATHER, make

url = sys.argv[1]
few = {"messages": HELLO, "max_tokens": 8, "num_retries": 0}


def chat(model, **more):
    return litellm.completion(model=f"ollama_chat/{model}", api_base=url, **few, **more)


def openai(model, **more):
    return litellm.completion(model=f"openai/{model}", api_base=f"{url}/v1", api_key="unused", **few, **more)


make(
    {
        "chat": lambda: chat("alpha"),
        "chat in a stream": lambda: chat("alpha", stream=True),
        "chat with tools": lambda: chat("alpha", tools=[WEATHER]),
        "chat in a shape": lambda: chat("alpha", format=SHAPE),
        "generate": lambda: litellm.completion(model="ollama/alpha", api_base=url, **few),
        "embeddings": lambda: litellm.embedding(model="ollama/embed", input=["one", "two"], api_base=url, dimensions=4),
        "unknown model": lambda: chat("nobody-has-this"),
        "unknown model in a stream": lambda: list(chat("nobody-has-this", stream=True)),
        "openai's chat": lambda: openai("alpha"),
        "openai's chat in a stream": lambda: openai("alpha", stream=True),
        "openai's unknown model": lambda: openai("nobody-has-this"),
    }
)
