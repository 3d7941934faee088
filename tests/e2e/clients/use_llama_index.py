"""Calls of LlamaIndex's packages for Ollama at URL."""

import sys

from calls import make
from llama_index.core.llms import ChatMessage
from llama_index.embeddings.ollama import OllamaEmbedding
from llama_index.llms.ollama import Ollama

url = sys.argv[1]
hello = [ChatMessage(role="user", content="hello")]


def model(name):
    return Ollama(model=name, base_url=url, context_window=4096, additional_kwargs={"num_predict": 8})


make(
    {
        "chat": lambda: model("alpha").chat(hello),
        "chat in a stream": lambda: [part.delta for part in model("alpha").stream_chat(hello)],
        "text": lambda: model("alpha").complete("hello").text,
        "text in a stream": lambda: [part.delta for part in model("alpha").stream_complete("hello")],
        "embeddings": lambda: OllamaEmbedding("embed", base_url=url).get_text_embedding_batch(["one", "two"])[1][:4],
        "unknown model": lambda: model("nobody-has-this").chat(hello),
        "unknown model in a stream": lambda: list(model("nobody-has-this").stream_chat(hello)),
    }
)
