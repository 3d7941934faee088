"""Checks a plan with sums of its own: nothing here uses what made the plan, but its data."""

from __future__ import annotations

from collections import Counter

GIB = 1 << 30
RUNNER = 650_000_000


def takes(wish, context, slots, gpus, element_bytes):
    """What a copy takes, and of that what /api/ps shows."""
    slots = 1 if wish.is_one_by_one else slots
    context = min(context, wish.trained) if wish.trained else context
    tokens = context * slots
    batch = 2048 if tokens > 32768 else 1024 if tokens > 4096 else 512
    if wish.shape is None:
        shown = wish.weights + int(21_360 * element_bytes * (wish.weights / 1e9) ** 0.62 * tokens)
    else:
        shape = wish.shape
        seen = min(context, (shape.window + batch + 255) // 256 * 256)
        cache = (context * shape.token_bytes + seen * shape.windowed_bytes) * slots * element_bytes / 2
        shown = wish.weights + int(cache) + batch * shape.batch_bytes * gpus
    return shown + RUNNER * gpus, shown


def fits(wishes, gpu_bytes, gpus, element_bytes):
    """Whether models are on such a group at the same time, in whichever order they are loaded."""
    context, slots = max(one.context for one in wishes), max(one.slots for one in wishes)
    sizes = []
    for one in wishes:
        alone = takes(one, context, slots, 1, element_bytes)
        sizes.append(alone if alone[0] <= gpu_bytes - GIB else takes(one, context, slots, gpus, element_bytes))
    total = sum(size for size, _ in sizes)
    last = all(shown <= 0.8 * (gpu_bytes * gpus - (total - size)) + 2 for size, shown in sizes)
    return total <= (gpu_bytes - GIB) * gpus and (len(sizes) == 1 or last)


def needs(wish, gpu_bytes, element_bytes):
    """How many of such GPUs a model needs by itself."""
    return next((n for n in range(1, 17) if fits([wish], gpu_bytes, n, element_bytes)), 99)


def check(plan, gpus, wishes):
    """Raise AssertionError where a plan does not hold."""
    element = plan.element_bytes
    used = [gpu.id for group in plan.groups for gpu in group.gpus]
    assert sorted(used, key=str) == sorted((gpu.id for gpu in gpus), key=str), "every GPU is in one group"
    for group in plan.groups:
        assert len({(gpu.vendor, gpu.bytes) for gpu in group.gpus}) == 1, "GPUs of one kind"
        assert len(group.gpus) == 1 or all(gpu.may_group for gpu in group.gpus)
        names = [one.model for one in group.wishes]
        assert len(names) == len(set(names)), "one copy of a model on an instance"
        if group.wishes:
            size = group.gpus[0].bytes
            assert fits(list(group.wishes), size, len(group.gpus), element), f"{names} on {len(group.gpus)} x {size}"
        if len(group.gpus) > 1:
            least = [needs(one, group.gpus[0].bytes, element) for one in group.wishes]
            assert len(group.gpus) in least, "a group is as large as one of its models needs it"
    check_copies(plan, gpus, wishes, element)


def check_copies(plan, gpus, wishes, element):
    placed = Counter(one.model for group in plan.groups for one in group.wishes)
    missing = {one.wish.model: one for one in plan.missing}
    for wish in wishes:
        short = missing[wish.model].copies if wish.model in missing else 0
        assert placed[wish.model] + short == wish.copies
        if short:
            assert missing[wish.model].why
            for group in plan.groups:
                has_it = any(one.model == wish.model for one in group.wishes)
                there = [*group.wishes, wish]
                assert has_it or not fits(there, group.gpus[0].bytes, len(group.gpus), element), "there is room for it"
        elif min(needs(wish, gpu.bytes, element) for gpu in gpus) == 1:
            homes = [group for group in plan.groups if any(one.model == wish.model for one in group.wishes)]
            assert any(len(home.gpus) == 1 for home in homes) or placed_full(plan, wish, element)


def placed_full(plan, wish, element):
    """Whether no single GPU would take the model, so that it may be beside others on a group."""
    single = [group for group in plan.groups if len(group.gpus) == 1]
    return not any(fits([*group.wishes, wish], group.gpus[0].bytes, 1, element) for group in single)
