"""The plan: GPU groups and what lives on each, from GPUs and wishes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from spoe_agent.plan.packing import GroupKind, Item, pack
from spoe_agent.plan.places import Place, balanced, filled
from spoe_agent.plan.room import Room, beside
from spoe_agent.plan.wishes import Gpu, Wish

GIB = 1 << 30

_LARGEST_GROUP = 16
"""llama.cpp's limit (GGML_CUDA_MAX_DEVICES)."""


@dataclass(frozen=True, slots=True)
class PlannedGroup:
    """GPUs with one instance on them, and the models that live there."""

    gpus: tuple[Gpu, ...]
    room: Room
    wishes: tuple[Wish, ...]


@dataclass(frozen=True, slots=True)
class Missing:
    """Copies for which there is no room, and why."""

    wish: Wish
    copies: int
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is proposed."""

    groups: tuple[PlannedGroup, ...]
    missing: tuple[Missing, ...] = ()
    element_bytes: float = 2.0
    homes: dict[str, list[int]] = field(default_factory=dict)
    """By model: places in `groups`."""


def propose(gpus: Sequence[Gpu], wishes: Sequence[Wish], element_bytes: float = 2.0) -> Plan:
    """Return the plan in which the most models, by demand, are loaded all at the same time.

    1. A model lives on one GPU where one holds it; only others make groups, as small as will do.
    2. There is a group for the model that needs most GPUs: whatever has no place of its own can be loaded in turn
       somewhere.
    3. Every model has one copy before any has two.
    4. Copies are moved until no GPU has much more to do than another.
    """
    pools = _pools(gpus)
    sizes = [list(group) for group in pools.values()]
    rooms = [Room(key[1], 1, element_bytes) for key in pools]
    kinds, made = _kinds(wishes, rooms, [len(group) for group in sizes], [key[2] for key in pools])
    found = pack(kinds, _items(wishes, kinds), [len(group) for group in sizes])
    places = [Place(kinds[kind].pool, made[kind], [wishes[item] for item in held]) for kind, held in found]
    used = Counter[int]()
    for place in places:
        used[place.pool] += place.room.gpus
    places += [Place(pool, room, []) for pool, room in enumerate(rooms) for _ in range(len(sizes[pool]) - used[pool])]
    # Moves may leave room for a copy that had none.
    places = filled(balanced(filled(places, wishes), wishes), wishes)
    groups = _groups(places, sizes, gpus)
    return Plan(groups, tuple(_missing(groups, wishes, kinds, made)), element_bytes, _homes(groups))


def _pools(gpus: Sequence[Gpu]) -> dict[tuple[str, int, bool], list[Gpu]]:
    found: dict[tuple[str, int, bool], list[Gpu]] = {}
    for gpu in gpus:
        found.setdefault(gpu.pool, []).append(gpu)
    return found


def _items(wishes: Sequence[Wish], kinds: Sequence[GroupKind]) -> list[Item]:
    """Return what copies are worth: any first one more than all further ones, and more where more is asked for."""
    most = max(one.demand for one in wishes) or 1.0
    needs = [min((kind.gpus for kind in kinds if item in kind.sizes), default=0) for item in range(len(wishes))]
    largest = max(range(len(wishes)), key=lambda item: (needs[item], wishes[item].demand))
    found = []
    for item, wish in enumerate(wishes):
        share = wish.demand / most
        bonus = 2.0 * len(wishes) if item == largest and needs[item] > 1 else 0.0
        found.append(Item(1.0 + share + bonus, 0.5 * share / wish.copies, wish.copies))
    return found


def _kinds(
    wishes: Sequence[Wish], rooms: Sequence[Room], numbers: Sequence[int], may_group: Sequence[bool]
) -> tuple[list[GroupKind], list[Room]]:
    """Return every kind of group that is of use, and its room."""
    kinds: list[GroupKind] = []
    made: list[Room] = []
    profiles = sorted({(a.context, b.slots) for a in wishes for b in wishes})
    for pool, one in enumerate(rooms):
        largest = min(numbers[pool], _LARGEST_GROUP) if may_group[pool] else 1
        for number in range(1, largest + 1):
            room = Room(one.gpu_bytes, number, one.element_bytes)
            for context, slots in profiles:
                sizes = dict(_sizes(wishes, room, context, slots))
                if sizes and (not kinds or sizes not in [kind.sizes for kind in kinds if kind.pool == pool]):
                    kinds.append(GroupKind(pool, number, room.usable, sizes))
                    made.append(room)
    return kinds, made


def _sizes(wishes: Sequence[Wish], room: Room, context: int, slots: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield the models that a group is for: those that fit it, and no smaller one of the same GPUs."""
    for item, wish in enumerate(wishes):
        if wish.context > context or wish.slots > slots or room.gpus != smallest(wish, room):
            continue
        taken = wish.footprint(context, slots, room.element_bytes, room.gpus)
        if taken.total <= room.usable:
            yield item, (taken.total, max(0, beside(taken) - (room.bytes - room.usable)))


def smallest(wish: Wish, room: Room) -> int:
    """Return how many of such GPUs a model needs by itself."""
    number = 1
    while number <= _LARGEST_GROUP and not Room(room.gpu_bytes, number, room.element_bytes).holds([wish]):
        number += 1
    return number


def _groups(places: Sequence[Place], sizes: list[list[Gpu]], gpus: Sequence[Gpu]) -> tuple[PlannedGroup, ...]:
    """Hand out the GPUs: groups of several first, from neighbours in the order in which they were named."""
    left = [list(group) for group in sizes]
    order = {gpu.id: number for number, gpu in enumerate(gpus)}
    made = []
    for place in sorted(places, key=lambda place: -place.room.gpus):
        taken, left[place.pool] = left[place.pool][: place.room.gpus], left[place.pool][place.room.gpus :]
        wishes = tuple(sorted(place.wishes, key=lambda wish: (-wish.weights, wish.model)))
        made.append(PlannedGroup(tuple(taken), place.room, wishes))
    return tuple(sorted(made, key=lambda group: order[group.gpus[0].id]))


def _homes(groups: Sequence[PlannedGroup]) -> dict[str, list[int]]:
    homes: dict[str, list[int]] = {}
    for number, group in enumerate(groups):
        for wish in group.wishes:
            homes.setdefault(wish.model, []).append(number)
    return homes


def _missing(
    groups: Sequence[PlannedGroup], wishes: Sequence[Wish], kinds: list[GroupKind], made: list[Room]
) -> Iterator[Missing]:
    placed = Counter(wish.model for group in groups for wish in group.wishes)
    for item, wish in enumerate(wishes):
        short = wish.copies - placed[wish.model]
        if short > 0:
            fits = [room for kind, room in zip(kinds, made, strict=True) if item in kind.sizes]
            yield Missing(wish, short, _why(wish, groups, fits, placed[wish.model]))


def _why(wish: Wish, groups: Sequence[PlannedGroup], fits: Sequence[Room], placed: int) -> str:
    if not fits:
        return _too_large(wish, groups)
    if placed == len(groups):
        return f"every instance has one of its {placed} copies already"
    room = min(fits, key=lambda room: room.bytes)
    needed = room.footprints([wish])[0].total / GIB
    where = f"{room.gpus} GPUs of {room.gpu_bytes / GIB:.0f} GiB" if room.gpus > 1 else "one GPU"
    return f"needs {needed:.1f} GiB, which {where} would hold, but not beside what is there"


def _too_large(wish: Wish, groups: Sequence[PlannedGroup]) -> str:
    """Say what the most that could be put together has, and what the model needs there."""
    pools: dict[tuple[str, int, bool], int] = Counter()
    for group in groups:
        for gpu in group.gpus:
            pools[gpu.pool] += 1
    rooms = [Room(key[1], number if key[2] else 1, groups[0].room.element_bytes) for key, number in pools.items()]
    room = max(rooms, key=lambda room: room.usable)
    needed = room.footprints([wish])[0].total / GIB
    most = f"{room.gpus} x {room.gpu_bytes / GIB:.0f} GiB" if room.gpus > 1 else f"{room.gpu_bytes / GIB:.0f} GiB"
    ask = f"{wish.context} tokens x {wish.slots} slot{'s' * (wish.slots > 1)}"
    return (
        f"needs {needed:.1f} GiB with {ask}; the largest group here ({most}) has {room.usable / GIB:.1f} GiB for models"
    )
