"""What Ollama 0.33 answers, call by call: asked of a real one, and of the simulated one always.

The store has `small` (completion only), `second`, another name for its weights, and `embed`; the cloud is switched off
(OLLAMA_NO_CLOUD). Calls go out in this order, for some change what is loaded or in the store.
"""

from tests.simulator.conformance import embedding, generation, openai, refused, responses, server, store

CALLS = (
    server.SERVER
    | server.MODELS
    | generation.GENERATION
    | refused.REFUSED
    | embedding.EMBEDDING
    | openai.OPENAI
    | responses.RESPONSES
    | store.STORE
)
