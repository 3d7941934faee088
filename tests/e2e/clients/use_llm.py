"""Calls of Simon Willison's `llm` with its plugin for Ollama at URL."""

import os
import sys
import tempfile

folder = tempfile.TemporaryDirectory()
os.environ |= {"OLLAMA_HOST": sys.argv[1], "LLM_USER_PATH": folder.name}

# They read the environment when they are imported.
import llm  # noqa: E402
from calls import SHAPE, make  # noqa: E402

make(
    {
        "models": lambda: [model.model_id for model in llm.get_models() if model.model_id.startswith("ollama")],
        "models of embeddings": lambda: [
            model.model_id for model in llm.get_embedding_models() if "ollama" in model.model_id
        ],
        "prompt": lambda: llm.get_model("ollama/alpha:latest").prompt("hello", stream=False, num_predict=8).text(),
        "prompt in a stream": lambda: llm.get_model("ollama/alpha:latest").prompt("hello", num_predict=8),
        "prompt in a shape": lambda: (
            llm.get_model("ollama/alpha:latest").prompt("hello", schema=SHAPE, num_predict=8).text()
        ),
        "embeddings": lambda: list(llm.get_embedding_model("ollama/embed:latest").embed("one"))[:4],
        "unknown model": lambda: llm.get_model("nobody-has-this"),
    }
)
