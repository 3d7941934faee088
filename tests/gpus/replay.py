"""A stand-in for NVIDIA's binding that answers what was recorded, except for the calls told to do otherwise."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace

FIXTURE = Path(__file__).parent / "fixtures" / "nvml-h200-x2.json"
RECORD = json.loads(FIXTURE.read_text())

NOT_SUPPORTED = 3
DRIVER_NOT_LOADED = 9
TIMEOUT = 10
GPU_IS_LOST = 15
UNKNOWN = 999


class ReplayError(Exception):
    """NVML's error, with its code as `value`."""

    def __init__(self, code):
        super().__init__(f"NVML code {code}")
        self.value = code


class Handle:
    """A GPU, a MIG device or the host: the part of the record that answers for it. No hash, as a ctypes object."""

    __hash__ = None

    def __init__(self, answers, number=None):
        self.answers = answers
        self.number = number


class ReplayNvml:
    """One recorded moment.

    `faults`: by call as recorded ("nvmlDeviceGetPowerUsage()"), the code it fails with, on GPU `faulty` only or
    everywhere. `hanging`: a call that does not come back before `release` is set. `missing`: functions that this
    version of the binding lacks. `events`: (GPU, event type, data) to be taken from the queue.
    """

    NVMLError = ReplayError

    def __init__(self, moment="idle", faults=(), faulty=None, hanging=None, missing=(), events=()):
        recorded = RECORD["moments"][moment] if isinstance(moment, str) else moment
        self.host = Handle(recorded["host"])
        self.gpus = [Handle(answers, number) for number, answers in enumerate(recorded["gpus"])]
        self.faults = dict(faults)
        self.faulty = faulty
        self.hanging = hanging
        self.missing = set(missing)
        self.events = list(events)
        self.release = threading.Event()
        self.entered = threading.Event()
        self.calls = []

    def __getattr__(self, name):
        if not name.startswith("nvml") or name in self.missing:
            raise AttributeError(name)
        return lambda *arguments: self._answer(name, arguments)

    def _answer(self, name, arguments):
        handle = next((each for each in arguments if isinstance(each, Handle)), self.host)
        plain = ", ".join(str(each) for each in arguments if not isinstance(each, Handle))
        call = f"{name}({plain})"
        self.calls.append(call)
        if call == self.hanging:
            self.entered.set()
            assert self.release.wait(60), f"{call} was never released"
        if call in self.faults and self.faulty in (None, handle.number):
            raise ReplayError(self.faults[call])
        if name == "nvmlEventSetWait_v2" and self.events:
            number, kind, data = self.events.pop(0)
            return SimpleNamespace(device=self.gpus[number], eventType=kind, eventData=data)
        return self._recorded(name, call, handle, arguments)

    def _recorded(self, name, call, handle, arguments):
        if name == "nvmlDeviceGetHandleByIndex":
            return self.gpus[arguments[0]]
        answers = handle.answers
        if name == "nvmlDeviceGetMigDeviceHandleByIndex":
            parts = answers.get("mig", {})
            if str(arguments[1]) not in parts:
                raise ReplayError(6)
            return Handle(parts[str(arguments[1])], handle.number)
        answer = answers.get(call, {"code": NOT_SUPPORTED})
        if "code" in answer:
            raise ReplayError(answer["code"])
        if answer["ok"] == "handle":
            return self.host
        return _object(answer["ok"])


def _object(value):
    if isinstance(value, dict):
        return SimpleNamespace(**value)
    return [_object(each) for each in value] if isinstance(value, list) else value
