"""Models of some hundred kilobytes with random weights, in a store that a real Ollama reads: they say nonsense, fast.

The file format is GGUF version 3; the store is OLLAMA_MODELS, a manifest per name and blobs beside it.
"""

from __future__ import annotations

import json
import random
import struct
from hashlib import sha256
from pathlib import Path

LAYERS, WIDTH, HEADS, INNER = 2, 64, 4, 128
TRAINED_CONTEXT = 8192

NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
TOKENS = [
    ("<unk>", UNKNOWN),
    ("<s>", CONTROL),
    ("</s>", CONTROL),
    *((f"<0x{value:02X}>", BYTE) for value in range(256)),
    *((f"▁{letter}{vowel}", NORMAL) for letter in "bcdfghklmnprstvw" for vowel in "aeiou"),
]

WORDS_FROM = 259


def add_model(store: Path, name: str, template: str, seed: str = "", embedding: bool = False) -> None:
    """Put a model into the store: ``template`` decides what Ollama thinks it can do, ``seed`` its weights."""
    model = _blob(store, gguf(seed or name, embedding))
    config = {"model_format": "gguf", "model_family": "llama", "model_families": ["llama"]}
    config |= {"model_type": "1M", "file_type": "F32", "architecture": "amd64", "os": "linux"}
    layers = [("model", model)] + ([("template", _blob(store, template.encode()))] if template else [])
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            **_blob(store, json.dumps(config).encode()),
        },
        "layers": [{"mediaType": f"application/vnd.ollama.image.{kind}", **blob} for kind, blob in layers],
    }
    path = store / "manifests/registry.ollama.ai/library" / name / "latest"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(manifest))


def gguf(seed: str, embedding: bool) -> bytes:
    """Return a Llama of two layers."""
    facts: dict[str, object] = {
        "general.architecture": "llama",
        "llama.context_length": TRAINED_CONTEXT,
        "llama.embedding_length": WIDTH,
        "llama.block_count": LAYERS,
        "llama.feed_forward_length": INNER,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": HEADS,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": WIDTH // HEADS,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [token for token, _ in TOKENS],
        "tokenizer.ggml.scores": [-float(number) for number in range(len(TOKENS))],
        "tokenizer.ggml.token_type": [kind for _, kind in TOKENS],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }
    if embedding:
        facts["llama.pooling_type"] = 1
    chance = random.Random(seed)
    tensors = {name: (shape, _weights(chance, shape)) for name, shape in _shapes().items()}
    tensors["output.weight"] = ((WIDTH, len(TOKENS)), _only_words(chance))
    head = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(facts))]
    head += [_text(key) + _value(value) for key, value in facts.items()]
    offset = 0
    for name, (shape, data) in tensors.items():
        head.append(_text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset))
        offset += len(data)
    whole = b"".join(head)
    return whole + bytes(-len(whole) % 32) + b"".join(data for _, data in tensors.values())


def _shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (WIDTH, len(TOKENS)), "output_norm.weight": (WIDTH,)}
    for number in range(LAYERS):
        block = f"blk.{number}"
        shapes |= {f"{block}.{part}_norm.weight": (WIDTH,) for part in ("attn", "ffn")}
        shapes |= {f"{block}.attn_{part}.weight": (WIDTH, WIDTH) for part in ("q", "k", "v", "output")}
        shapes |= {f"{block}.ffn_{part}.weight": (WIDTH, INNER) for part in ("gate", "up")}
        shapes[f"{block}.ffn_down.weight"] = (INNER, WIDTH)
    return shapes


def _weights(chance: random.Random, shape: tuple[int, ...]) -> bytes:
    count = shape[0] * (shape[1] if len(shape) > 1 else 1)
    values = [1.0] * count if len(shape) == 1 else [chance.gauss(0.0, 0.1) for _ in range(count)]
    return struct.pack(f"<{count}f", *values)


def _only_words(chance: random.Random) -> bytes:
    """The output layer: it says words, and neither bytes nor that it has ended."""
    values = [0.0] * (WORDS_FROM * WIDTH) + [chance.gauss(0.0, 1.0) for _ in range((len(TOKENS) - WORDS_FROM) * WIDTH)]
    return struct.pack(f"<{len(values)}f", *values)


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def _value(value: object) -> bytes:
    """One value with its type in front: 4 is an unsigned number, 5 a number, 6 a float, 8 a text, 9 an array."""
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    assert isinstance(value, list)
    if isinstance(value[0], str):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(_text(one) for one in value)
    kind, letter = (6, "f") if isinstance(value[0], float) else (5, "i")
    return struct.pack(f"<IIQ{len(value)}{letter}", 9, kind, len(value), *value)


def _blob(store: Path, data: bytes) -> dict[str, object]:
    digest = sha256(data).hexdigest()
    path = store / "blobs" / f"sha256-{digest}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}
