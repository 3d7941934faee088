"""Machines and sets of models to plan for."""

import random

from spoe_agent.plan.wishes import Gpu, Wish
from spoe_agent.routing.memory import ModelShape
from spoe_agent.routing.names import canonical

GIB = 1 << 30


def gpus(number, gib, vendor="nvidia", first=0):
    return [Gpu(f"GPU-{gib}-{place:04}", gib * GIB, vendor) for place in range(first, first + number)]


MACHINES = {
    "2x24": gpus(2, 24),
    "4x48": gpus(4, 48),
    "8x80": gpus(8, 80),
    "24+80": [*gpus(2, 24), *gpus(2, 80)],
    "amd": gpus(4, 64, "amd"),
    "one": gpus(1, 16),
}


def wish(name, gb, layers=32, heads=8, length=128, **known):
    """A model whose keys and values have one shape in all layers."""
    known = {"context": 8192, "demand": 1.0} | known
    shape = ModelShape(layers * heads * length * 4, batch_bytes=170_000)
    return Wish(canonical(name), int(gb * 1e9), known.pop("shape", shape), **known)


LLAMA_1B = wish("llama3.2:1b", 1.3, 16, 8, 64)
LLAMA_8B = wish("llama3.1:8b", 4.9)
MISTRAL_24B = wish("mistral-small:24b", 14.3, 40)
QWEN_32B = wish("qwen3:32b", 20.2, 64)
GEMMA_27B = wish("gemma3:27b", 17.4, shape=ModelShape(10 * 8192, 52 * 8192, 1024, 258_000))
GPT_OSS_120B = wish("gpt-oss:120b", 65.4, shape=ModelShape(18 * 2048, 18 * 2048, 128, 138_000), context=32768)
LLAMA_70B = wish("llama3.3:70b", 42.5, 80)
LLAMA_405B = wish("llama3.1:405b", 243, 126)
EMBED = wish("nomic-embed-text", 0.27, 12, 12, 64, context=2048, trained=2048, is_one_by_one=True)
UNKNOWN = wish("mine", 9.0, shape=None)


def asked(one, **more):
    """The same model, asked for otherwise."""
    known = {name: getattr(one, name) for name in Wish.__slots__}
    return Wish(**(known | more))


SETS = {
    "one small": [LLAMA_1B],
    "small and embeddings": [LLAMA_8B, EMBED],
    "one large": [LLAMA_70B],
    "large and small": [LLAMA_70B, LLAMA_8B, LLAMA_1B, EMBED],
    "medium": [MISTRAL_24B, QWEN_32B, GEMMA_27B, UNKNOWN],
    "much asked": [asked(LLAMA_8B, demand=14.0), asked(QWEN_32B, demand=5.0), EMBED],
    "long contexts": [asked(LLAMA_8B, context=131072), asked(GEMMA_27B, context=131072), GPT_OSS_120B],
    "two copies": [asked(LLAMA_8B, copies_wanted=2), asked(LLAMA_1B, copies_wanted=3), asked(EMBED, copies_wanted=2)],
    "too large": [LLAMA_405B, LLAMA_8B],
    "many": [
        *(asked(LLAMA_8B, model=f"a{number}", demand=0.2 * number) for number in range(8)),
        *(asked(LLAMA_1B, model=f"b{number}") for number in range(6)),
        *(asked(QWEN_32B, model=f"c{number}") for number in range(4)),
        LLAMA_70B,
    ],
}


def crowd(number, seed=1):
    """Many models of all sizes, with demands and contexts of several kinds."""
    chance = random.Random(seed)
    sizes = (1, 2, 4, 4.7, 5, 8, 9, 15, 18, 20, 32, 42)
    return [
        wish(
            f"m{place}",
            chance.choice(sizes) if place else 140,
            demand=chance.choice((0.1, 0.5, 1.0, 2.0, 5.0)),
            context=chance.choice((4096, 8192, 32768)),
        )
        for place in range(number)
    ]
