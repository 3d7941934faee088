"""What lives where, made better step by step: copies without a place find one, and move from busy GPUs to others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spoe_agent.plan.room import Room
from spoe_agent.plan.wishes import Wish

_MOVES = 500
"""At most so many; each leaves less to do on the busier of two groups, so that there is an end anyway."""


@dataclass(slots=True, eq=False)
class Place:
    """A group of GPUs of one pool, and the models on it."""

    pool: int
    room: Room
    wishes: list[Wish]

    def takes(self, wish: Wish, instead_of: Wish | None = None) -> bool:
        """Tell whether a model fits here beside the others, or in the place of one of them."""
        others = [one for one in self.wishes if one is not instead_of]
        return wish not in others and self.room.holds([*others, wish])


def filled(places: Sequence[Place], wishes: Sequence[Wish]) -> list[Place]:
    """Leave out copies that are too many, and find a place for those that have none, where it is fullest.

    First copies come first, then those of models that are asked for most.
    """
    found = [Place(one.pool, one.room, []) for one in places]
    counted: Counter[str] = Counter()
    for there, place in zip(places, found, strict=True):
        for wish in there.wishes:
            if counted[wish.model] < wish.copies and place.takes(wish):
                place.wishes.append(wish)
                counted[wish.model] += 1
    for copy in range(1, max(wish.copies for wish in wishes) + 1):
        for wish in sorted(wishes, key=lambda wish: (-wish.demand, -wish.weights, wish.model)):
            if counted[wish.model] < copy <= wish.copies:
                counted[wish.model] += _put(found, wish)
    return found


def _put(places: Sequence[Place], wish: Wish) -> int:
    """Put one copy on the smallest group that takes it, and of these the fullest; return how many found a place."""
    free = [place for place in places if place.takes(wish)]
    if not free:
        return 0
    best = min(free, key=lambda place: (place.room.gpus, place.room.usable - _used(place)))
    best.wishes.append(wish)
    return 1


def _used(place: Place) -> int:
    return sum(one.total for one in place.room.footprints(place.wishes)) if place.wishes else 0


def balanced(places: Sequence[Place], wishes: Sequence[Wish]) -> list[Place]:
    """Move copies from groups that have much to do to others, one at a time, or swap two, while that evens it out."""
    found = [Place(one.pool, one.room, list(one.wishes)) for one in places]
    work = {wish.model: _work(wish) for wish in wishes}
    stuck: set[Place] = set()
    for _ in range(_MOVES):
        loads = {place: sum(work[one.model] for one in place.wishes) / place.room.gpus for place in found}
        busy = max((place for place in found if place not in stuck), key=lambda place: loads[place], default=None)
        if busy is None:
            break
        eased = _eased(busy, found, loads, work)
        stuck = {busy, *stuck} if eased is None else stuck - {eased}
    return found


def _work(wish: Wish) -> float:
    """Return the requests at a time that fall to one copy. The size decides between models that nobody asks for."""
    return wish.demand / wish.copies + wish.weights / 1e13


def _eased(
    busy: Place, places: Sequence[Place], loads: Mapping[Place, float], work: Mapping[str, float]
) -> Place | None:
    """Do the first thing that leaves both groups with less to do than the busy one has; return the other group.

    A model that one GPU holds is not moved to a group of more.
    """
    idle = [one for one in places if one.room.gpus <= busy.room.gpus and loads[one] < loads[busy]]
    idle.sort(key=lambda place: loads[place])
    for swaps in (False, True):
        for other in idle:
            most = (loads[busy] - loads[other]) * other.room.gpus
            for wish in sorted(busy.wishes, key=lambda one: -work[one.model]):
                for back in other.wishes if swaps else (None,):
                    more = work[wish.model] - (work[back.model] if back else 0.0)
                    if 1e-9 < more < most - 1e-9 and _moved(busy, other, wish, back):
                        return other
    return None


def _moved(busy: Place, idle: Place, wish: Wish, back: Wish | None) -> bool:
    if not idle.takes(wish, back) or (back is not None and not busy.takes(back, wish)):
        return False
    busy.wishes.remove(wish)
    idle.wishes.append(wish)
    if back is not None:
        idle.wishes.remove(back)
        busy.wishes.append(back)
    return True
