"""Made-up bursts on one model: a code assistant's traffic, as in Azure's 2023 code trace.

Long prompts, short answers, arrivals with a coefficient of variation of 13: crowds with long silences between them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from bench.policies.arrivals import Arrival

CROWD_GAP_S = 0.5
"""Mean time between two requests of a crowd."""
SILENCE_S = 585.0
"""Mean time between crowds, and ..."""
SILENCE_PART = 0.01
"""... how many of the gaps are so: two exponential kinds of gaps, which together vary 13 times their mean."""

_PROMPT = (math.log(1500), 0.79)
"""Mean and deviation of the logarithm: medians and means of Azure's code trace (arXiv 2311.18677)."""
_OUTPUT = (math.log(13), 1.24)
_LONGEST_PROMPT, _LONGEST_OUTPUT = 3800, 1000


def bursts(rank: str, span_s: float, seed: int, known: Sequence[Arrival] = ()) -> list[Arrival]:
    """Return the crowds' requests over a time, ordered by time.

    Args:
        rank: the label of the model.
        span_s: how long.
        seed: of all that is drawn.
        known: take lengths of these instead.
    """
    randomness = random.Random(seed)
    found, at_s = [], 0.0
    while (at_s := at_s + _gap_s(randomness)) < span_s:
        prompt, output = _lengths(randomness, known)
        found.append(Arrival(at_s, rank, prompt, output))
    return found


def _gap_s(randomness: random.Random) -> float:
    return randomness.expovariate(1 / (SILENCE_S if randomness.random() < SILENCE_PART else CROWD_GAP_S))


def _lengths(randomness: random.Random, known: Sequence[Arrival]) -> tuple[int, int]:
    if known:
        one = randomness.choice(known)
        return one.prompt_tokens, one.output_tokens
    return code_lengths(randomness)


def code_lengths(randomness: random.Random) -> tuple[int, int]:
    """Draw the tokens of a completion of code: its prompt's and its own."""
    prompt = min(_LONGEST_PROMPT, math.ceil(randomness.lognormvariate(*_PROMPT)))
    return prompt, min(_LONGEST_OUTPUT, math.ceil(randomness.lognormvariate(*_OUTPUT)))
