"""Which models go together on which group of GPUs: HiGHS, by columns (Gilmore and Gomory's cutting stock).

GPUs of one size stand for each other, so that a formulation with a place for each of them has as many equal solutions
as there are orders of GPUs. Here a column is what one group holds, and the number of groups that hold it is the
variable. Columns that improve the whole are found by a knapsack, one for each kind of group, with the prices that the
linear programme puts on the models; then whole numbers are chosen among the columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_matrix

_UNITS = 400
"""The knapsack counts memory in so many parts of a group, rounded up."""
_ROUNDS = 30
_AT_ONCE = 8
_CHOICES = 500
"""Columns among which whole numbers are chosen: those that cost least beyond what they are worth."""
_NODES = 500
_MILP_S = 2.0
_GAP = 1e-3
_LEAST_GAIN = 1e-7


@dataclass(frozen=True, slots=True)
class GroupKind:
    """A kind of group: so many GPUs of one pool, with one context and one number of slots."""

    pool: int
    gpus: int
    usable: int
    sizes: dict[int, tuple[int, int]]
    """By model: what it takes, and what must be free beyond that where it is the largest of several."""


@dataclass(frozen=True, slots=True)
class Item:
    """A model: what its first copy is worth, what each further one, how many there are to be."""

    first: float
    further: float
    copies: int


_SPREAD = 0.05
"""What each further GPU of a group costs, where a model's first copy is worth 1 at least: little, so that it decides
only whether one GPU has a model or several."""

Column = tuple[int, tuple[int, ...]]
"""A kind, and the models that one group of it holds."""


def pack(kinds: Sequence[GroupKind], items: Sequence[Item], pools: Sequence[int]) -> list[Column]:
    """Return what each group holds, that is worth most. `pools`: how many GPUs of each there are.

    A model may be there more often than wanted: what is too much is for the caller to leave out.
    """
    columns: list[Column] = [(number, (item,)) for number, kind in enumerate(kinds) for item in kind.sizes]
    if not columns:
        return []
    known = set(columns)
    for _ in range(_ROUNDS):
        found = _relaxed(columns, kinds, items, pools)
        new = [column for column in _better(kinds, found) if column not in known]
        if not new:
            break
        columns += new
        known.update(new)
    return _whole(_likely(columns, kinds, _relaxed(columns, kinds, items, pools)), kinds, items, pools)


def _rows(
    columns: Sequence[Column], kinds: Sequence[GroupKind], items: Sequence[Item], pools: Sequence[int]
) -> tuple[csr_matrix, np.ndarray, np.ndarray]:
    """Return rows, their limits and each variable's worth. Variables: columns, first copies, further copies.

    No more copies of a model count than groups hold; no more GPUs are used than there are.
    """
    width, height = len(columns), len(items)
    entries = [(item, place, -1.0) for place, (_, held) in enumerate(columns) for item in held]
    entries += [(item, width + item, 1.0) for item in range(height)]
    entries += [(item, width + height + item, 1.0) for item in range(height)]
    entries += [(height + kinds[kind].pool, place, float(kinds[kind].gpus)) for place, (kind, _) in enumerate(columns)]
    row, column, value = zip(*entries, strict=True)
    matrix = csr_matrix((value, (row, column)), shape=(height + len(pools), width + 2 * height))
    limits = np.array([0.0] * height + [float(number) for number in pools])
    spread = [-_SPREAD * (kinds[kind].gpus - 1) for kind, _ in columns]
    worth = np.array(spread + [one.first for one in items] + [one.further for one in items])
    return matrix, limits, worth


def _most(items: Sequence[Item], width: int) -> np.ndarray:
    return np.array([np.inf] * width + [1.0] * len(items) + [float(one.copies - 1) for one in items])


@dataclass(frozen=True, slots=True)
class _Relaxed:
    """The optimum where groups may be fractions."""

    amounts: np.ndarray
    """Of each column."""
    prices: np.ndarray
    """What one more copy of each model would be worth."""
    rents: np.ndarray
    """What one more GPU of each pool would be worth."""


def _relaxed(
    columns: Sequence[Column], kinds: Sequence[GroupKind], items: Sequence[Item], pools: Sequence[int]
) -> _Relaxed:
    matrix, limits, worth = _rows(columns, kinds, items, pools)
    most = _most(items, len(columns))
    done = linprog(-worth, A_ub=matrix, b_ub=limits, bounds=np.column_stack([np.zeros_like(most), most]))
    duals = -done.ineqlin.marginals
    return _Relaxed(done.x[: len(columns)], duals[: len(items)], duals[len(items) :])


def _cost(kind: GroupKind, found: _Relaxed) -> float:
    """Return what a group of that kind takes from others."""
    return float(kind.gpus * found.rents[kind.pool]) + _SPREAD * (kind.gpus - 1)


def _likely(columns: Sequence[Column], kinds: Sequence[GroupKind], found: _Relaxed) -> list[Column]:
    """Return the columns that are used, then those that cost least beyond what they are worth, up to _CHOICES."""

    def cost(place: int) -> tuple[bool, float]:
        number, held = columns[place]
        over = _cost(kinds[number], found) - float(found.prices[[*held]].sum())
        return bool(found.amounts[place] < _LEAST_GAIN), over

    return [columns[place] for place in sorted(range(len(columns)), key=cost)[:_CHOICES]]


def _better(kinds: Sequence[GroupKind], found: _Relaxed) -> Iterator[Column]:
    """Yield columns that are worth more than their GPUs: of each kind several that have no model in common, because
    they are likely to be chosen together.
    """
    for number, kind in enumerate(kinds):
        left = found.prices.copy()
        for _ in range(_AT_ONCE):
            held, worth = _knapsack(kind, left)
            if not held or worth <= _cost(kind, found) + _LEAST_GAIN:
                break
            yield number, tuple(sorted(held))
            left[held] = 0.0


def _knapsack(kind: GroupKind, prices: np.ndarray) -> tuple[list[int], float]:
    """Return the models of most worth that fit together in a group, and that worth.

    In order of falling size: so the first that is taken is the largest, and pays for what must be free beyond it.
    """
    unit = kind.usable / _UNITS
    order = sorted(
        (item for item in kind.sizes if prices[item] > _LEAST_GAIN), key=lambda item: kind.sizes[item], reverse=True
    )
    best = np.full(_UNITS + 1, -np.inf)
    taken: list[tuple[int, int, np.ndarray]] = []
    for item in order:
        size, spare = kind.sizes[item]
        cost, first = int(np.ceil(size / unit)), int(np.ceil((size + spare) / unit))
        how = np.zeros(_UNITS + 1, dtype=np.int8)
        then = best.copy()
        moved = best[: _UNITS + 1 - cost] + prices[item]
        is_better = moved > then[cost:]
        then[cost:][is_better] = moved[is_better]
        how[cost:][is_better] = 1
        if first <= _UNITS and prices[item] > then[first]:
            then[first], how[first] = prices[item], 2
        taken.append((item, cost, how))
        best = then
    used = int(np.argmax(best))
    return _traced(taken, used), float(best[used])


def _traced(taken: list[tuple[int, int, np.ndarray]], used: int) -> list[int]:
    """Return the models that fill a group up to `used`, from how each was taken: 1, beside others; 2, as the first."""
    held = []
    for item, cost, how in reversed(taken):
        if how[used]:
            held.append(item)
            if how[used] == 2:
                break
            used -= cost
    return held


def _whole(
    columns: Sequence[Column], kinds: Sequence[GroupKind], items: Sequence[Item], pools: Sequence[int]
) -> list[Column]:
    """Return the groups that are worth most, each column as often as it is used."""
    matrix, limits, worth = _rows(columns, kinds, items, pools)
    width = len(columns)
    done = milp(
        -worth,
        integrality=np.array([1] * width + [0] * (2 * len(items))),
        bounds=Bounds(0, _most(items, width)),
        constraints=LinearConstraint(matrix, ub=limits),
        options={"node_limit": _NODES, "time_limit": _MILP_S, "mip_rel_gap": _GAP},
    )
    if done.x is None:
        return []
    return [column for column, number in zip(columns, done.x, strict=False) for _ in range(round(number))]
