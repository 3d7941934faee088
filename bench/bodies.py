"""Bodies for load: conversations of a given size, drawn from a seed. What clients send differs in order and content."""

from __future__ import annotations

import base64
import json
import random

WORDS = ("alpha", "the", "of", 'he said "hi"', "newline\n", "über", "x" * 12, "def f(): return [1, {}]", "\u4e2d\u6587")
MESSAGE_CHARACTERS = 2_000
IMAGE_BYTES = 90_000


def body(seed: int, size: int, *, is_last: bool, model: str = "alpha") -> bytes:
    """Return a chat request of about `size` bytes, with `model` before or behind all else."""
    rnd = random.Random(seed)
    messages = [_message(rnd, size)]
    while (missing := size - len(json.dumps(messages))) > MESSAGE_CHARACTERS:
        messages += [_message(rnd, min(missing, IMAGE_BYTES)) for _ in range(max(1, missing // IMAGE_BYTES))]
    rest = [("messages", messages), ("stream", rnd.random() < 0.5), ("options", {"temperature": 0.5})]
    rnd.shuffle(rest)
    named = [*rest, ("model", model)] if is_last else [("model", model), *rest]
    return json.dumps(dict(named), ensure_ascii=rnd.random() < 0.5).encode()


def _message(rnd: random.Random, room: int) -> dict[str, object]:
    """Return a text, or an image where there is room for one."""
    if room >= IMAGE_BYTES and rnd.random() < 0.5:
        image = base64.b64encode(rnd.randbytes(IMAGE_BYTES * 3 // 4)).decode()
        return {"role": "user", "content": "look", "images": [image]}
    words = rnd.choices(WORDS, k=min(MESSAGE_CHARACTERS, room) // 8)
    return {"role": rnd.choice(("user", "assistant")), "content": " ".join(words)}
