"""A model's shape, from what `/api/show` says of its GGUF file. Pure.

Keys as llama.cpp reads them (src/llama-hparams.cpp). Lists of more than five numbers come empty (server/routes.go
getModelData), so what differs from layer to layer is read from the tensors' own shapes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from spoe_agent.routing.memory import ModelShape


class _Pattern(NamedTuple):
    """Which layers see the whole context: one of `period`, the last of them or the first."""

    period: int
    is_whole_first: bool = False
    window: int = 0
    """Where the file does not say."""


_WINDOWED: Mapping[str, _Pattern] = {
    "afmoe": _Pattern(4),
    "cohere2": _Pattern(4),
    "cohere2moe": _Pattern(4, True),
    "exaone-moe": _Pattern(4, window=128),
    "exaone4": _Pattern(4, window=4096),
    "gemma-embedding": _Pattern(6),
    "gemma2": _Pattern(2, window=4096),
    "gemma3": _Pattern(6),
    "gemma3n": _Pattern(5),
    "gemma4": _Pattern(6),
    "gpt-oss": _Pattern(2),
    "gptoss": _Pattern(2),
    "laguna": _Pattern(4, True),
    "llama4": _Pattern(4, window=8192),
    "mellum": _Pattern(4),
    "modern-bert": _Pattern(3, True),
    "muse-glimmer": _Pattern(4),
    "olmo2": _Pattern(4),
    "plamo3": _Pattern(8),
    "smallthinker": _Pattern(4, True),
}
"""By architecture (src/models/*.cpp, set_swa_pattern). Others' `sliding_window` is not used (phi3)."""

_KV_FROM_START = {"gemma3n": 20}
"""So many layers have keys and values, the others use theirs."""

_BYTES = 2
"""Of one number in f16."""


def shape_of(shown: Mapping[str, Any]) -> ModelShape | None:
    """Return the shape that an answer of `/api/show` describes; None when it does not say enough."""
    info, tensors = shown.get("model_info"), shown.get("tensors")
    if not isinstance(info, Mapping):
        return None
    arch = str(info.get("general.architecture", ""))
    about = {str(key).removeprefix(f"{arch}."): value for key, value in info.items()}
    layers = _number(about, "block_count")
    if not layers:
        return None
    widths = _by_tensors(tensors if isinstance(tensors, list) else [], about) or _by_heads(about, layers)
    owners = _KV_FROM_START.get(arch, layers - _number(about, "attention.shared_kv_layers"))
    widths = {layer: width for layer, width in widths.items() if layer < owners}
    window, windowed = _window(arch, about)
    whole = sum(width for layer, width in widths.items() if not windowed(layer))
    rest = sum(width for layer, width in widths.items() if windowed(layer))
    return ModelShape(whole * _BYTES, rest * _BYTES, window if rest else 0, _batch(about))


def _by_tensors(tensors: list[Any], about: Mapping[str, Any]) -> dict[int, int]:
    """Return the numbers of keys and values of each layer that has any, as its weights make them."""
    found: dict[str, dict[int, int]] = {}
    for layer, part, width in _parts(tensors):
        found.setdefault(part, {})[layer] = width
    if "attn_kv_a_mqa" in found:  # MLA keeps one compressed vector for both
        return found["attn_kv_a_mqa"]
    keys, values = found.get("attn_k", {}), found.get("attn_v", {})
    fused = _one_layer(about)
    both = {layer: width + values.get(layer, width) for layer, width in keys.items()}
    return both | dict.fromkeys(found.get("attn_qkv", {}) if fused and not both else {}, fused)


def _parts(tensors: list[Any]) -> Iterator[tuple[int, str, int]]:
    for tensor in tensors:
        name, shape = (tensor.get("name"), tensor.get("shape")) if isinstance(tensor, Mapping) else (None, None)
        match = re.fullmatch(r"blk\.(\d+)\.(attn_k|attn_v|attn_qkv|attn_kv_a_mqa)\.weight", str(name))
        if match and isinstance(shape, list) and shape and isinstance(shape[-1], int):
            yield int(match[1]), match[2], shape[-1]


def _by_heads(about: Mapping[str, Any], layers: int) -> dict[int, int]:
    return dict.fromkeys(range(layers), _one_layer(about))


def _one_layer(about: Mapping[str, Any]) -> int:
    heads = _number(about, "attention.head_count") or 1
    length = _number(about, "embedding_length") // heads
    key, value = (_number(about, f"attention.{what}_length") or length for what in ("key", "value"))
    return (_number(about, "attention.head_count_kv") or heads) * (key + value)


def _window(arch: str, about: Mapping[str, Any]) -> tuple[int, Callable[[int], bool]]:
    """Return the window, and what tells whether a layer has it."""
    pattern = _WINDOWED.get(arch)
    window = _number(about, "attention.sliding_window") or (pattern.window if pattern else 0)
    if pattern is None or not window:
        return 0, lambda layer: False
    period = _number(about, "attention.sliding_window_pattern") or pattern.period
    whole = 0 if pattern.is_whole_first else period - 1
    return window, lambda layer: layer % period != whole


def _batch(about: Mapping[str, Any]) -> int:
    """Return what a layer computes of one token: of experts, those that are used."""
    experts = _number(about, "expert_used_count") * _number(about, "expert_feed_forward_length")
    forward = experts or _number(about, "feed_forward_length")
    embedding = _number(about, "embedding_length")
    return 4 * (2 * (forward or 4 * embedding) + 4 * embedding)


def _number(about: Mapping[str, Any], key: str) -> int:
    """Return a number, the largest of a list; 0 when there is none."""
    value = about.get(key)
    if isinstance(value, list):
        return max((int(one) for one in value if isinstance(one, int | float)), default=0)
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0
