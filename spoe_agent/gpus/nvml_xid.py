"""The driver's error codes (Xid) from NVML's event queue, without waiting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spoe_agent.gpus.nvml_calls import Calls, GpuFault

_XID_CRITICAL_ERROR = 0x8
_EVENTS_PER_POLL = 64
_HOST = "all GPUs"


class XidWatch:
    """Remembers the last Xid of each GPU since it was made. A GPU that cannot be watched has none."""

    def __init__(self, calls: Calls, handles: Mapping[str, Any]) -> None:
        self._last: dict[str, int] = {}
        self._queue = calls.ask(_HOST, "nvmlEventSetCreate")
        for uuid, handle in handles.items() if self._queue is not None else ():
            if self._register(calls, uuid, handle):
                self._last[uuid] = 0

    def poll(self, calls: Calls) -> Mapping[str, int]:
        """Take what has queued up; return the last Xid by UUID, 0 where none was seen."""
        for _ in range(_EVENTS_PER_POLL if self._last else 0):
            try:
                # 0 ms: NVML answers "timeout" at once when nothing is queued.
                event = calls.ask(_HOST, "nvmlEventSetWait_v2", self._queue, 0)
                uuid = None if event is None else calls.ask(_HOST, "nvmlDeviceGetUUID", event.device)
            except GpuFault:  # one GPU is gone: its own reading says so
                break
            if uuid is None:
                break
            if event.eventType == _XID_CRITICAL_ERROR:
                self._last[uuid.decode() if isinstance(uuid, bytes) else uuid] = int(event.eventData)
        return self._last

    def _register(self, calls: Calls, uuid: str, handle: Any) -> bool:
        try:
            kinds = calls.ask(uuid, "nvmlDeviceGetSupportedEventTypes", handle)
            watched = kinds is not None and kinds & _XID_CRITICAL_ERROR
            return bool(watched) and calls.does(
                uuid, "nvmlDeviceRegisterEvents", handle, _XID_CRITICAL_ERROR, self._queue
            )
        except GpuFault:
            return False
