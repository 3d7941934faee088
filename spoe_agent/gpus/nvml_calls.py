"""NVIDIA's management library (NVML) as this package calls it: the binding's shape, its error codes, one call.

Lives here: which errors mean "no value", "this GPU is gone" or "no driver".
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol, cast

import structlog

from spoe_agent.gpus.reading import SourceError

log = structlog.get_logger()

# nvmlReturn_t (nvml.h)
_UNINITIALIZED = 1
_NOT_SUPPORTED = 3
_NOT_FOUND = 6
_DRIVER_NOT_LOADED = 9
_TIMEOUT = 10
_LIBRARY_NOT_FOUND = 12
_FUNCTION_NOT_FOUND = 13
_GPU_IS_LOST = 15
_RESET_REQUIRED = 16
_LIB_RM_VERSION_MISMATCH = 18

_NO_DRIVER = {_UNINITIALIZED, _DRIVER_NOT_LOADED, _LIBRARY_NOT_FOUND, _LIB_RM_VERSION_MISMATCH}
_NEVER = {_NOT_SUPPORTED, _FUNCTION_NOT_FOUND}
_NOTHING_THERE = {_NOT_FOUND, _TIMEOUT}


class Nvml(Protocol):
    """The binding (module `pynvml` of nvidia-ml-py, 12 to 13), or a stand-in. Names and arguments are NVML's own.

    Beside these, a reading asks for values by name (`Calls.ask`); one that the binding lacks is "no value".
    """

    NVMLError: type[Exception]
    """What every call raises; `value` is the code."""

    def nvmlInit(self) -> None:
        """Load the library and connect to the driver."""

    def nvmlShutdown(self) -> None:
        """Undo one nvmlInit."""

    def nvmlDeviceGetCount(self) -> int:
        """Return the number of GPUs."""

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:
        """Return the GPU's handle."""


class NoDriver(SourceError):
    """NVML cannot be used at all now."""


class GpuFault(Exception):
    """The driver has given one GPU up: fallen off the bus, or only a reset can help."""


def load_binding() -> Nvml:
    """Import nvidia-ml-py, which takes 40 ms and 6 MB: only where GPUs are read. The driver is not touched yet."""
    return cast(Nvml, importlib.import_module("pynvml"))


class Calls:
    """Asks NVML, and tells what failed: once per GPU and call, since a card that lacks a value always will."""

    def __init__(self, nvml: Nvml) -> None:
        self._nvml = nvml
        self._told: set[tuple[str, str]] = set()
        self._unsupported: set[tuple[object, ...]] = set()
        self.doing = ""
        """The call in progress, or the last one."""

    def ask(self, gpu: str, call: str, *arguments: Any) -> Any:
        """Return what a call answers; None when it has no value. Raises GpuFault and NoDriver."""
        return self._call(gpu, call, arguments)[1]

    def does(self, gpu: str, call: str, *arguments: Any) -> bool:
        """Make a call that answers nothing, and say whether it worked. Raises GpuFault and NoDriver."""
        return self._call(gpu, call, arguments)[0]

    def must(self, call: str, *arguments: Any) -> Any:
        """Return what a call answers without which nothing works. Raises NoDriver."""
        self.doing = call
        try:
            return getattr(self._nvml, call)(*arguments)
        except self._nvml.NVMLError as error:
            raise NoDriver(f"{call}: {error}; is the NVIDIA driver loaded, and of the version installed?") from error

    def _call(self, gpu: str, call: str, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
        """Return whether a call worked, and its answer. One that this GPU does not support is not made again."""
        function = getattr(self._nvml, call, None)
        # Versions and kinds are numbers; handles are ctypes objects, which have no hash, and `gpu` stands for them.
        key = (gpu, call, *(each for each in arguments if isinstance(each, int)))
        if key in self._unsupported:
            return False, None
        if function is None:
            self._tell(gpu, call, "not in this version of nvidia-ml-py")
            return False, None
        self.doing = f"{call} of {gpu}"
        try:
            return True, function(*arguments)
        except self._nvml.NVMLError as error:
            if self._failed(gpu, call, error) in _NEVER:
                self._unsupported.add(key)
            return False, None

    def _failed(self, gpu: str, call: str, error: Exception) -> int | None:
        """Return the error's code, if it is nothing worse than a missing value."""
        code: int | None = getattr(error, "value", None)
        if code in _NO_DRIVER:
            raise NoDriver(f"{call}: {error}; is the NVIDIA driver loaded?") from error
        if code == _GPU_IS_LOST:
            raise GpuFault("is lost: the driver cannot reach it any more") from error
        if code == _RESET_REQUIRED:
            raise GpuFault("must be reset before it can be used") from error
        if code not in _NOTHING_THERE:
            self._tell(gpu, call, str(error))
        return code

    def _tell(self, gpu: str, call: str, why: str) -> None:
        if (gpu, call) not in self._told:
            self._told.add((gpu, call))
            log.info("GPU gives no value", gpu=gpu, call=call, why=why)
