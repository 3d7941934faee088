"""The solver: against all ways there are, on small cases."""

from itertools import combinations, product

import numpy as np
import pytest

from spoe_agent.plan.packing import GroupKind, Item, pack


def value(held, items):
    """What groups are worth: first copies, further ones up to the number wanted."""
    counts = np.bincount([item for models in held for item in models], minlength=len(items))
    return sum(
        (number > 0) * item.first + max(0, min(number, item.copies) - 1) * item.further
        for number, item in zip(counts, items, strict=True)
    )


def fits(kind, models):
    sizes = sorted((kind.sizes[one] for one in models), reverse=True)
    spare = sizes[0][1] if len(sizes) > 1 else 0
    return sum(size for size, _ in sizes) + spare <= kind.usable


def best(kind, items, groups):
    """The most that so many groups of a kind can be worth."""
    ways = [
        models
        for number in range(len(items) + 1)
        for models in combinations(sorted(kind.sizes), number)
        if not models or fits(kind, models)
    ]
    return max(value(held, items) for held in product(ways, repeat=groups))


CASES = {
    "all fit": ([3, 3, 3], [0, 0, 0], 2, 10),
    "tight": ([6, 4, 5, 5], [0, 0, 0, 0], 2, 10),
    "one stays out": ([6, 6, 6, 3], [0, 0, 0, 0], 2, 10),
    "the largest needs more beside others": ([6, 4, 5], [2, 1, 1], 2, 10),
    "alone only": ([10, 1, 1], [3, 0, 0], 2, 10),
}


@pytest.mark.parametrize(("sizes", "spare", "groups", "room"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("copies", [1, 2])
def test_nothing_is_worth_more(sizes, spare, groups, room, copies):
    kind = GroupKind(0, 1, room * 1000, {item: (size * 1000, spare[item] * 1000) for item, size in enumerate(sizes)})
    items = [Item(1.0 + 0.1 * place, 0.3, copies) for place in range(len(sizes))]
    found = pack([kind], items, [groups])
    assert len(found) <= groups
    assert all(fits(kind, models) for _, models in found)
    assert value([models for _, models in found], items) == pytest.approx(best(kind, items, groups))


def test_a_group_of_several_takes_several():
    kinds = [GroupKind(0, 1, 10, {0: (5, 0)}), GroupKind(0, 2, 20, {1: (15, 0)})]
    found = pack(kinds, [Item(1.0, 0.0, 1), Item(1.0, 0.0, 1)], [3])
    assert sorted(found) == [(0, (0,)), (1, (1,))]
    assert len(pack(kinds, [Item(1.0, 0.0, 1), Item(9.0, 0.0, 1)], [2])) == 1


def test_one_gpu_is_preferred_to_several():
    kinds = [GroupKind(0, 2, 20, {0: (15, 0)}), GroupKind(1, 1, 20, {0: (15, 0)})]
    assert pack(kinds, [Item(1.0, 0.0, 1)], [2, 1]) == [(1, (0,))]


def test_nothing_to_pack():
    assert pack([], [Item(1.0, 0.0, 1)], [1]) == []
