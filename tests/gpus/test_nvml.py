"""NVIDIA GPUs from a recording, whole and with each call failing in turn."""

from copy import deepcopy
from dataclasses import fields

import pytest
from structlog.testing import capture_logs

from spoe_agent.gpus.nvml import NvmlReader
from spoe_agent.gpus.nvml_calls import NoDriver
from spoe_agent.gpus.reading import GpuReading
from tests.gpus.recorded import CALLS, GONE, HOST_CALLS, SECOND, START, changed, read
from tests.gpus.replay import DRIVER_NOT_LOADED, GPU_IS_LOST, NOT_SUPPORTED, RECORD, UNKNOWN, ReplayNvml

FIRST = "GPU-00000000-aaaa-4bbb-8ccc-000000000000"


def test_a_busy_gpu_reads_as_recorded():
    ours, theirs = RECORD["moments"]["busy"]["pids"]
    idle, busy = read("busy")
    assert busy == GpuReading(
        uuid=SECOND,
        name="NVIDIA H200",
        index=1,
        pci_bus_id="0000:00:07.0",
        memory_total_bytes=150754820096,
        memory_used_bytes=14867103744,
        memory_free_bytes=135242776576,
        memory_reserved_bytes=644939776,
        utilisation=1.0,
        temperature_c=50,
        power_w=434.415,
        power_limit_w=700.0,
        throttle=frozenset(),
        ecc_uncorrected=0,
        xid=0,
        processes={ours: 9743368192, theirs: 5108662272},
        read_at_s=5.0,
    )
    assert (idle.uuid, idle.processes, idle.throttle) == (FIRST, {}, {"gpu_idle"})


def test_the_table_of_calls_is_whole():
    nvml = ReplayNvml()
    NvmlReader(lambda: nvml).read(5.0)
    assert set(nvml.calls) == CALLS.keys() | HOST_CALLS.keys() | START


@pytest.mark.parametrize("code", [NOT_SUPPORTED, UNKNOWN])
@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_fails_takes_its_own_fields_and_no_others(call, code):
    whole = read("busy")
    found = read("busy", faults={call: code}, faulty=None if "(1)" in call else 1)
    assert found[0] == whole[0]
    if CALLS[call] is GONE:
        assert len(found) == 1
    else:
        assert changed(whole[1], found[1]) == CALLS[call]


@pytest.mark.parametrize("call", [call for call in CALLS if "HandleByIndex" not in call and "UUID" not in call])
def test_a_function_that_the_binding_lacks_is_no_value(call):
    whole, found = read("busy"), read("busy", missing={call.split("(")[0]})
    for before, after in zip(whole, found, strict=True):
        assert changed(before, after) == CALLS[call]


@pytest.mark.parametrize("call", [call for call in CALLS if CALLS[call] is not GONE])
def test_a_gpu_that_is_lost_keeps_its_name_and_says_so(call):
    nvml = ReplayNvml("busy")
    reader = NvmlReader(lambda: nvml)
    reader.read(1.0)
    nvml.faults, nvml.faulty = {call: GPU_IS_LOST}, 1
    first, second = reader.read(2.0)
    asked_again = call in nvml.calls[-40:] and call not in _asked_at_start()
    assert first == read("busy")[0].__class__(**_as_dict(read("busy")[0]) | {"read_at_s": 2.0})
    assert (second.uuid, second.index, second.pci_bus_id) == (SECOND, 1, "0000:00:07.0")
    assert second.fault == ("is lost: the driver cannot reach it any more" if asked_again else None)


def _asked_at_start():
    return {
        "nvmlDeviceGetPciInfo()",
        "nvmlDeviceGetName()",
        "nvmlDeviceGetSupportedEventTypes()",
        "nvmlDeviceRegisterEvents(8)",
    }


def _as_dict(reading):
    return {each.name: getattr(reading, each.name) for each in fields(reading)}


@pytest.mark.parametrize("call", CALLS)
def test_a_gpu_that_is_lost_from_the_start_harms_no_other(call):
    found = read("busy", faults={call: GPU_IS_LOST}, faulty=None if "(1)" in call else 1)
    assert found[0] == read("busy")[0]


def test_a_gpu_that_needs_a_reset_says_so():
    found = read(faults={"nvmlDeviceGetMemoryInfo(33554472)": 16}, faulty=0)
    assert found[0].fault == "must be reset before it can be used"
    assert found[0].memory_free_bytes is None


def test_memory_without_spare_rows_is_a_fault():
    moment = deepcopy(RECORD["moments"]["idle"])
    moment["gpus"][0]["nvmlDeviceGetRemappedRows()"] = {"ok": [0, 8, 0, 1]}
    assert [reading.fault is None for reading in read(moment)] == [False, True]


@pytest.mark.parametrize("call", ["nvmlInit()", "nvmlDeviceGetCount()", "nvmlDeviceGetTemperature(0)"])
def test_without_a_driver_the_source_fails_and_starts_afresh_later(call):
    nvml = ReplayNvml(faults={call: DRIVER_NOT_LOADED})
    reader = NvmlReader(lambda: nvml)
    for _ in range(2):
        with pytest.raises(NoDriver, match=rf"{call.split('(')[0]}: .*; is the NVIDIA driver loaded"):
            reader.read(1.0)
    nvml.faults = {}
    assert len(reader.read(2.0)) == 2
    assert nvml.calls.count("nvmlInit()") == 3
    assert nvml.calls.count("nvmlShutdown()") == 2


def test_a_missing_value_is_told_once_and_not_asked_for_again():
    nvml = ReplayNvml(faults={"nvmlDeviceGetPowerUsage()": NOT_SUPPORTED})
    reader = NvmlReader(lambda: nvml)
    with capture_logs() as logs:
        for _ in range(3):
            reader.read(1.0)
    told = [(entry["gpu"], entry["call"]) for entry in logs if entry["call"] == "nvmlDeviceGetPowerUsage"]
    assert told == [(FIRST, "nvmlDeviceGetPowerUsage"), (SECOND, "nvmlDeviceGetPowerUsage")]
    assert nvml.calls.count("nvmlDeviceGetPowerUsage()") == 2


def test_a_call_that_fails_for_the_moment_is_asked_again():
    nvml = ReplayNvml(faults={"nvmlDeviceGetPowerUsage()": UNKNOWN})
    reader = NvmlReader(lambda: nvml)
    assert reader.read(1.0)[0].power_w is None
    nvml.faults = {}
    assert reader.read(2.0)[0].power_w is not None


def test_a_driver_before_510_gives_memory_without_the_reserved_part():
    moment = deepcopy(RECORD["moments"]["idle"])
    for gpu in moment["gpus"]:
        del gpu["nvmlDeviceGetMemoryInfo(33554472)"]
        gpu["nvmlDeviceGetMemoryInfo()"] = {"ok": {"total": 10, "used": 4, "free": 6}}
    reading = read(moment)[0]
    assert (reading.memory_total_bytes, reading.memory_used_bytes, reading.memory_free_bytes) == (10, 4, 6)
    assert reading.memory_reserved_bytes is None


def test_a_driver_before_535_has_its_older_name_for_clock_limits():
    moment = deepcopy(RECORD["moments"]["idle"])
    for gpu in moment["gpus"]:
        gpu["nvmlDeviceGetCurrentClocksThrottleReasons()"] = gpu.pop("nvmlDeviceGetCurrentClocksEventReasons()")
    assert read(moment) == read("idle")


def test_a_process_whose_share_is_hidden_makes_the_list_worthless():
    moment = deepcopy(RECORD["moments"]["busy"])
    moment["gpus"][1]["nvmlDeviceGetComputeRunningProcesses()"]["ok"][0]["usedGpuMemory"] = None
    assert [reading.processes for reading in read(moment)] == [{}, None]


def test_a_process_with_two_kinds_of_contexts_is_counted_once():
    moment = deepcopy(RECORD["moments"]["busy"])
    compute = moment["gpus"][1]["nvmlDeviceGetComputeRunningProcesses()"]["ok"]
    moment["gpus"][1]["nvmlDeviceGetGraphicsRunningProcesses()"]["ok"] = [compute[0], compute[1] | {"pid": 9}]
    before, after = (found[1].processes for found in (read("busy"), read(moment)))
    assert after == before | {9: compute[1]["usedGpuMemory"]}


def test_text_may_come_as_bytes():
    moment = deepcopy(RECORD["moments"]["idle"])
    for gpu in moment["gpus"]:
        for call in ("nvmlDeviceGetName()", "nvmlDeviceGetUUID()"):
            gpu[call]["ok"] = gpu[call]["ok"].encode()
        gpu["nvmlDeviceGetPciInfo()"]["ok"]["busId"] = gpu["nvmlDeviceGetPciInfo()"]["ok"]["busId"].encode()
    assert read(moment, events=[(1, 8, 31)])[0] == read("idle")[0]
    assert read(moment, events=[(1, 8, 31)])[1].xid == 31


def mig(used):
    return {
        "nvmlDeviceGetUUID()": {"ok": f"MIG-{used}"},
        "nvmlDeviceGetName()": {"ok": "NVIDIA H200 MIG 1g.18gb"},
        "nvmlDeviceGetMemoryInfo(33554472)": {"ok": {"total": 1000, "reserved": 10, "used": used, "free": 990 - used}},
        "nvmlDeviceGetComputeRunningProcesses()": {"ok": [{"pid": used, "usedGpuMemory": used}]},
    }


def partitioned():
    moment = deepcopy(RECORD["moments"]["busy"])
    moment["gpus"][1] |= {
        "nvmlDeviceGetMigMode()": {"ok": [1, 1]},
        "nvmlDeviceGetMaxMigDeviceCount()": {"ok": 7},
        "mig": {"0": mig(100), "3": mig(200)},
    }
    return moment


def test_mig_devices_follow_their_gpu_with_their_own_memory():
    _, parent, first, second = read(partitioned())
    assert (parent.uuid, parent.parent_uuid) == (SECOND, None)
    for part, used in ((first, 100), (second, 200)):
        assert (part.uuid, part.parent_uuid) == (f"MIG-{used}", SECOND)
        assert (part.index, part.pci_bus_id, part.utilisation) == (None, None, None)
        assert (part.memory_used_bytes, part.memory_free_bytes, part.processes) == (used, 990 - used, {used: used})
        assert (part.temperature_c, part.power_w) == (parent.temperature_c, parent.power_w)
        assert part.name == "NVIDIA H200 MIG 1g.18gb"


def test_a_mig_device_without_values_does_not_take_its_gpu_s():
    moment = partitioned()
    moment["gpus"][1]["mig"] = {"0": {"nvmlDeviceGetUUID()": {"ok": "MIG-bare"}}, "1": {}}
    *_, part = read(moment)
    assert (part.uuid, part.name, part.memory_used_bytes, part.memory_total_bytes, part.processes) == (
        "MIG-bare",
        "NVIDIA H200",
        None,
        None,
        None,
    )
