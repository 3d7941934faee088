"""Writes the fixture: what NVML answered to every call of a reading, on a machine with NVIDIA GPUs and CuPy.

    python -m tests.gpus.record OUT.json

Three moments: idle, with two programs on the last GPU, and after they ended. UUIDs are replaced by made-up ones.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import subprocess
import sys
import time

from spoe_agent.gpus.compare import main as compare
from spoe_agent.gpus.nvml import NvmlReader
from spoe_agent.gpus.nvml_calls import load_binding

MADE_UP = "GPU-{0:08d}-aaaa-4bbb-8ccc-{0:012d}"
HOLD = """
import sys, cupy
cupy.cuda.Device({gpu}).use()
held = cupy.zeros({gib} << 30, dtype=cupy.uint8)
factor = cupy.ones((8192, 8192), dtype=cupy.float32)
print("ready", flush=True)
while {busy}:
    factor @ factor
    cupy.cuda.Device().synchronize()
sys.stdin.read()
"""


class Handle:
    """Stands for a GPU or an event queue of the driver's; `where` is its part of the record."""

    def __init__(self, real, where):
        self.real = real
        self.where = where


class Recorder:
    """The binding, with every call written down: {call: {"ok": answer, "us": time}} per GPU and for the host."""

    def __init__(self, nvml):
        self._nvml = nvml
        self.NVMLError = nvml.NVMLError
        self.moment = {"host": {}, "gpus": []}

    def __getattr__(self, name):
        function = getattr(self._nvml, name)

        def call(*arguments):
            where = next((each.where for each in arguments if isinstance(each, Handle)), self.moment["host"])
            plain = ", ".join(str(each) for each in arguments if not isinstance(each, Handle))
            begun = time.perf_counter()
            try:
                answer = function(*(each.real if isinstance(each, Handle) else each for each in arguments))
            except self.NVMLError as error:
                where[f"{name}({plain})"] = {"error": type(error).__name__, "code": error.value, "us": _us(begun)}
                raise
            where[f"{name}({plain})"] = {"ok": _plain(answer), "us": _us(begun)}
            return self._handle(name, answer)

        return call

    def _handle(self, name, answer):
        if name == "nvmlDeviceGetHandleByIndex":
            self.moment["gpus"].append({})
            return Handle(answer, self.moment["gpus"][-1])
        return Handle(answer, self.moment["host"]) if name == "nvmlEventSetCreate" else answer


def _us(begun):
    return round(1e6 * (time.perf_counter() - begun))


def _plain(answer):
    if isinstance(answer, list | tuple):
        return [_plain(each) for each in answer]
    if hasattr(answer, "_fields_"):
        return {name: _plain(getattr(answer, name)) for name, *_ in answer._fields_}
    if isinstance(answer, bytes):
        return answer.decode()
    if answer is None or isinstance(answer, int | float | str):
        return answer
    if hasattr(answer, "__dict__") and "pid" in vars(answer):
        return {name: _plain(value) for name, value in vars(answer).items()}
    return "handle"


def moment():
    """One reading with its calls, the cost of ten more, and the comparison with nvidia-smi at that second."""
    recorder = Recorder(load_binding())
    reader = NvmlReader(lambda: recorder)
    reader.read(time.monotonic())
    plain = NvmlReader()
    plain.read(time.monotonic())
    cpu, wall = time.thread_time(), time.monotonic()
    for _ in range(10):
        plain.read(time.monotonic())
    cost = {"cpu_ms": 100 * (time.thread_time() - cpu), "wall_ms": 100 * (time.monotonic() - wall)}
    out = io.StringIO()
    compare(["--json"], out)
    return recorder.moment | {"reading_cost": cost, "compared": json.loads(out.getvalue())}


def hold(gpu, gib, busy):
    """A program that holds memory on a GPU until its standard input is closed."""
    source = HOLD.format(gpu=gpu, gib=gib, busy=busy)
    child = subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    return child


def main(path):
    nvml = load_binding()
    nvml.nvmlInit()
    gpus = nvml.nvmlDeviceGetCount()
    uuids = [str(nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(index))) for index in range(gpus)]
    record = {
        "binding": f"nvidia-ml-py {importlib.metadata.version('nvidia-ml-py')}",
        "driver": str(nvml.nvmlSystemGetDriverVersion()),
        "moments": {"idle": moment()},
    }
    children = [hold(gpus - 1, 8, True), hold(gpus - 1, 4, False)]
    try:
        time.sleep(5)  # power and utilisation are averages
        record["moments"]["busy"] = moment() | {"pids": [child.pid for child in children]}
    finally:
        for child in children:
            child.kill()
            child.wait()
    time.sleep(2)
    record["moments"]["after"] = moment()
    text = json.dumps(record, indent=1)
    for number, uuid in enumerate(uuids):
        text = text.replace(uuid, MADE_UP.format(number))
    with open(path, "w") as file:
        file.write(text + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
