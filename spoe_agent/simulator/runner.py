"""One loaded model: its slots, its FIFO semaphore, and how far its requests have come.

Tokens are not simulated one by one. A slot's work is counted in *solo seconds*, the time it would take with the
GPU to itself, and flows at a speed that changes only when the set of active slots changes:

- decode, b active slots:              1 / (turns x (1 + k (b - 1)))
- prefill, p prefilling, d decoding:   1 / (sharers x (p + k d)), for prefill is bound by compute, so slots divide it

``sharers`` is the number of runners computing on the GPU group, ``turns`` how many times as long a step takes among
them (share.py).
"""

from __future__ import annotations

import math
from collections import deque
from enum import IntEnum

from spoe_agent.simulator.catalog import Model
from spoe_agent.simulator.memory import RunnerMemory, Speed
from spoe_agent.simulator.work import Durations, Task, UnloadReason, Work


class Phase(IntEnum):
    """Where a request stands."""

    PENDING = 0
    WAITING = 1
    ACTIVE = 2
    ENDED = 3


class Job:
    """A request on its way through the scheduler."""

    __slots__ = (
        "cached_tokens",
        "first_at_s",
        "phase",
        "ready_at_s",
        "runner",
        "seated_at_s",
        "slot",
        "submitted_at_s",
        "work",
    )

    def __init__(self, work: Work, now_s: float) -> None:
        self.work = work
        self.phase = Phase.PENDING
        self.submitted_at_s = now_s
        self.ready_at_s = now_s
        self.seated_at_s = now_s
        self.first_at_s = now_s
        self.cached_tokens = 0
        self.runner: Runner | None = None
        self.slot: Slot | None = None

    def durations(self, now_s: float) -> Durations:
        """The figures of Ollama's final chunk, for a request that ends now."""
        return Durations(
            total_s=now_s - self.submitted_at_s,
            load_s=self.ready_at_s - self.submitted_at_s,
            prompt_eval_s=self.first_at_s - self.seated_at_s,
            eval_s=now_s - self.first_at_s,
        )


class Slot:
    """One sequence of the runner's batch, and the prompt cache it keeps between requests."""

    __slots__ = ("cached_tokens", "freed_at_s", "job", "prefilling", "session", "target_s")

    def __init__(self) -> None:
        self.job: Job | None = None
        self.prefilling = False
        self.target_s = 0.0
        self.session: str | None = None
        self.cached_tokens = 0
        self.freed_at_s = -math.inf


class Runner:
    """A llama-server process. Callers call ``progress`` before they change its slots, ``retime`` after."""

    def __init__(
        self,
        model: Model,
        num_ctx: int,
        slots: int,
        footprint: RunnerMemory,
        pace: Speed,
        options: tuple[tuple[str, int | bool], ...],
        free_before_bytes: int,
    ) -> None:
        self.model = model
        self.num_ctx = num_ctx
        self.options = options
        self.free_before_bytes = free_before_bytes  # VRAM that was free when it was started
        self.is_dead = False
        self.footprint = footprint
        self.pace = pace
        self.waiting: deque[Job] = deque()
        self.active = 0  # slots in use
        self.next_at_s = math.inf
        # Kept for the scheduler, which alone changes them.
        self.refs = 0
        self.keep_alive_s = 0.0  # "sessionDuration" in sched.go
        self.expire_at_s = math.inf  # when the idle timer fires
        self.expires_at_s: float | None = None  # what /api/ps says; it goes stale while requests run
        self.load_started_at_s = 0.0
        self.deadline_s = math.inf  # when its load, or the recovery of its memory, is over
        self.marked: UnloadReason | None = None  # to be unloaded when idle
        self._slots = [Slot() for _ in range(slots)]
        self._next: Slot | None = None
        self._synced_at_s = 0.0
        self._prefill_clock_s = self._decode_clock_s = 0.0
        self._prefill_speed = self._decode_speed = 0.0

    def progress(self, now_s: float) -> None:
        """Let the work flow up to ``now_s`` at the speeds in force."""
        elapsed_s = now_s - self._synced_at_s
        self._prefill_clock_s += elapsed_s * self._prefill_speed
        self._decode_clock_s += elapsed_s * self._decode_speed
        self._synced_at_s = now_s

    def retime(self, now_s: float, sharers: int, turns: float) -> None:
        """Set the speeds for the slots as they are now, and find which slot reaches its target next."""
        prefilling = sum(slot.prefilling for slot in self._slots)
        decoding = self.active - prefilling
        k = self.pace.batch_slowdown
        self._prefill_speed = 1.0 / (sharers * (prefilling + k * decoding)) if prefilling else 0.0
        self._decode_speed = 1.0 / (turns * (1.0 + k * (prefilling + decoding - 1))) if decoding else 0.0
        self.next_at_s, self._next = math.inf, None
        for slot in self._slots:
            if slot.job is None:
                continue
            at_s = now_s + self._left_s(slot)
            if at_s < self.next_at_s:
                self.next_at_s, self._next = at_s, slot

    def jobs(self) -> list[Job]:
        """The requests in its slots, then those that wait for one."""
        return [slot.job for slot in self._slots if slot.job is not None] + list(self.waiting)

    def seat_waiting(self, now_s: float) -> bool:
        """Give free slots to the requests that wait longest; True if any got one."""
        seated = False
        while self.waiting:
            if self.waiting[0].phase is Phase.ENDED:
                self.waiting.popleft()
                continue
            slot = self._free_slot(self.waiting[0].work.session)
            if slot is None:
                break
            self._seat(self.waiting.popleft(), slot, now_s)
            seated = True
        return seated

    def reach_target(self, now_s: float) -> tuple[Job, bool, bool]:
        """Return the request of the slot that is due, whether its prefill ended now, and whether it is finished."""
        slot = self._next
        assert slot is not None and slot.job is not None
        job = slot.job
        if not slot.prefilling:
            return job, False, True
        slot.prefilling = False
        job.first_at_s = now_s
        steps = 0 if job.work.kind is Task.EMBED else job.work.output_tokens - 1
        slot.target_s = self._decode_clock_s + steps * self.pace.step_s
        return job, True, steps <= 0

    def free(self, job: Job, now_s: float) -> None:
        """Take a request out of its slot, which keeps the prompt cache."""
        slot = job.slot
        assert slot is not None
        done = 0 if slot.prefilling else self.tokens_done(job)
        slot.session = job.work.session if done else None
        slot.cached_tokens = job.work.prompt_tokens + done if done else 0
        slot.job, slot.prefilling, slot.freed_at_s = None, False, now_s
        self.active -= 1
        job.slot = None

    def tokens_done(self, job: Job) -> int:
        """Output tokens that exist, as of the last ``progress``."""
        slot = job.slot
        if slot is None or slot.prefilling:
            return 0
        left = math.ceil((slot.target_s - self._decode_clock_s) / self.pace.step_s - 1e-6)
        return job.work.output_tokens - max(0, left)

    def token_interval_s(self) -> float:
        """Time between two tokens of a decoding slot at the speed in force."""
        return self.pace.step_s / self._decode_speed if self._decode_speed else math.inf

    def _left_s(self, slot: Slot) -> float:
        if slot.prefilling:
            return max(0.0, slot.target_s - self._prefill_clock_s) / self._prefill_speed
        return max(0.0, slot.target_s - self._decode_clock_s) / self._decode_speed

    def _free_slot(self, session: str | None) -> Slot | None:
        """llama-server's choice: the slot whose cache shares the prompt, else the least recently used."""
        best: Slot | None = None
        for slot in self._slots:
            if slot.job is not None:
                continue
            if session is not None and slot.session == session:
                return slot
            if best is None or slot.freed_at_s < best.freed_at_s:
                best = slot
        return best

    def _seat(self, job: Job, slot: Slot, now_s: float) -> None:
        work = job.work
        if work.session is not None and slot.session == work.session:
            # At least one token is always evaluated: the logits of the last one are needed.
            job.cached_tokens = max(0, min(slot.cached_tokens, work.prompt_tokens - 1))
        prefill_s = (work.prompt_tokens - job.cached_tokens) / self.pace.prefill_tokens_per_s
        self.active += 1
        slot.job, slot.prefilling, slot.target_s = job, True, self._prefill_clock_s + prefill_s
        job.slot, job.phase, job.seated_at_s = slot, Phase.ACTIVE, now_s
