"""Bodies for load: conversations of a given size, drawn from a seed. What clients send differs in order and content."""

from __future__ import annotations

import base64
import json
import random

WORDS = ("alpha", "the", "of", 'he said "hi"', "newline\n", "über", "x" * 12, "def f(): return [1, {}]", "\u4e2d\u6587")
MESSAGE_CHARACTERS = 2_000
IMAGE_BYTES = 90_000
TOOLS_FROM_BYTES = 5_000
"""Smaller requests bring no tools."""


def body(seed: int, size: int, *, is_last: bool, model: str = "alpha") -> bytes:
    """Return a chat request of about `size` bytes, with `model` before or behind all else."""
    rnd = random.Random(seed)
    messages = [_message(rnd, size)]
    while (missing := size - len(json.dumps(messages))) > MESSAGE_CHARACTERS:
        messages += [_message(rnd, min(missing, IMAGE_BYTES)) for _ in range(max(1, missing // IMAGE_BYTES))]
    rest = [("messages", messages), ("stream", rnd.random() < 0.5), ("options", {"temperature": 0.5})]
    if size >= TOOLS_FROM_BYTES and rnd.random() < 0.5:
        rest.append(("tools", [_tool(rnd, depth=3) for _ in range(rnd.randint(1, 3))]))
    rnd.shuffle(rest)
    named = [*rest, ("model", model)] if is_last else [("model", model), *rest]
    spaced = rnd.choice(((", ", ": "), (",", ":")))
    return json.dumps(dict(named), ensure_ascii=rnd.random() < 0.5, separators=spaced).encode()


def _message(rnd: random.Random, room: int) -> dict[str, object]:
    """Return a text, or an image where there is room for one."""
    if room >= IMAGE_BYTES and rnd.random() < 0.5:
        image = base64.b64encode(rnd.randbytes(IMAGE_BYTES * 3 // 4)).decode()
        return {"role": "user", "content": "look", "images": [image]}
    words = rnd.choices(WORDS, k=min(MESSAGE_CHARACTERS, room) // 8)
    said = {"role": rnd.choice(("user", "assistant")), "content": " ".join(words)}
    return dict(rnd.sample(sorted(said.items()), k=2))


def _tool(rnd: random.Random, depth: int) -> dict[str, object]:
    """Return what a tool takes: schemas within schemas."""
    if not depth:
        return {"type": rnd.choice(("string", "number")), "description": rnd.choice(WORDS)}
    inner = {f"field{n}": _tool(rnd, depth - 1) for n in range(rnd.randint(1, 3))}
    return {"type": "object", "properties": inner, "required": list(inner)[:1]}
