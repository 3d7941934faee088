"""Calls of the `langchain-ollama` package at URL."""

import sys

from calls import SHAPE, WEATHER, make
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM

url = sys.argv[1]


def chat(model, **more):
    return ChatOllama(model=model, base_url=url, num_predict=8, **more)


make(
    {
        "chat": lambda: chat("alpha").invoke("hello"),
        "chat in a stream": lambda: chat("alpha").stream("hello"),
        "chat with tools": lambda: chat("alpha").bind_tools([WEATHER]).invoke("hello"),
        "chat in a shape": lambda: chat("alpha", format=SHAPE).invoke("hello"),
        "chat with a model that must be there": lambda: chat("alpha", validate_model_on_init=True).invoke("hello"),
        "text": lambda: OllamaLLM(model="alpha", base_url=url, num_predict=8).invoke("hello"),
        "embeddings": lambda: OllamaEmbeddings(model="embed", base_url=url, dimensions=4).embed_documents(
            ["one", "two"]
        ),
        "unknown model": lambda: chat("nobody-has-this").invoke("hello"),
        "unknown model in a stream": lambda: list(chat("nobody-has-this").stream("hello")),
        "a model that must be there and is not": lambda: chat("nobody-has-this", validate_model_on_init=True),
    }
)
